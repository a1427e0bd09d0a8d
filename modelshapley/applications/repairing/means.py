"""Fold what removed units give on average into the bias of the projection that read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from modelshapley.applications.plans import Plan
from modelshapley.architectures.anatomy import Site
from modelshapley.errors import UnsupportedModel
from modelshapley.evaluation.activations import activations_of
from modelshapley.interventions.weights import oriented
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import UnitKind


def fold_means(loaded: LoadedModel, smaller: nn.Module, plan: Plan, task: Task[Any], seed: int, examples: int) -> None:
    """Let `smaller` compute what the parent does with its removed neurons and heads held at their means.

    bias += W_gone mean(z_gone), with z the parent's activations in front of the projection, over all positions of the
    first probe examples, as many as given. Units that were zeroed in place are folded in, too. Raises UnsupportedModel
    where no projection behind removed units has a bias.
    """
    places = list(_gone(loaded, plan))
    biased = [place for place in places if _bias(smaller, place[1]) is not None]
    if places and not biased:
        raise UnsupportedModel(
            f"The family {loaded.anatomy.model_type} has no biases behind these units, so their means have no place; "
            "choose the least-squares repair, or none."
        )
    activations = activations_of(loaded, task, seed, examples)
    for site, path, channels in biased:
        gone = torch.tensor(channels)
        weight = oriented(loaded.model.get_submodule(site.path)).double().cpu()[:, gone]
        bias = _bias(smaller, path)
        assert bias is not None
        bias.data.add_((weight @ activations.at_site(site).mean[gone]).to(bias))


def _gone(loaded: LoadedModel, plan: Plan) -> Iterator[tuple[Site, str, list[int]]]:
    """Yield the parent's sites that lose units, with the path of the projection in the smaller model, and channels."""
    for kind in (UnitKind.NEURON, UnitKind.HEAD):
        zeroed = set(plan.zeroed.of_kind(kind))
        for place, number in enumerate(plan.layers):
            kept = {unit for unit in plan.kept[kind][place] if (number, unit) not in zeroed}
            pairs = zip(loaded.anatomy.sites(kind, number), plan.anatomy.sites(kind, place), strict=True)
            for site, target in pairs:
                lost = [unit for unit in range(site.count) if site.first + unit not in kept]
                channels = [unit * site.width + channel for unit in lost for channel in range(site.width)]
                if channels:
                    yield site, target.path, channels


def _bias(model: nn.Module, path: str) -> nn.Parameter | None:
    bias = dict(model.get_submodule(path).named_parameters(recurse=False)).get("bias")
    return bias
