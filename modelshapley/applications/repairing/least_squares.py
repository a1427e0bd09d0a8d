"""Refit the last projections of a smaller model so that they give what the parent's gave, by least squares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from modelshapley.applications.plans import Plan
from modelshapley.architectures.anatomy import Site
from modelshapley.interventions.gates import hook
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import UnitKind

RIDGE = 1e-3
"""Weight of the ridge, as a share of the mean variance of a channel: keeps the fit of nearly equal channels finite."""
MEMORY_BYTES = 2**30
"""Largest size of the channel products of the layers that are fitted in one pass over the examples."""


@dataclass(frozen=True)
class _Fit:
    """One projection: its input site in the parent, its path in the smaller model, its channels that stay and go."""

    site: Site
    path: str
    kept: list[int]
    gone: list[int]


def refit(loaded: LoadedModel, smaller: nn.Module, plan: Plan, task: Task[Any], examples: Sequence[Any]) -> None:
    """Refit the projections behind removed neurons and heads of `smaller` on examples.

    With z the parent's activations in front of a projection, the columns that stay take over what those that go
    predict: W_kept += W_gone C_gk (C_kk + ridge)^-1 with C the covariance of z over positions; the bias, where there is
    one, takes over what remains of their mean. Padded models are left as they are, since their zeros would fill up.
    """
    for fits in _groups(_fits(loaded, plan)):
        moments = _covariances(loaded, task, examples, fits)
        for fit in fits:
            _refit(loaded.model.get_submodule(fit.site.path), smaller.get_submodule(fit.path), fit, *moments[fit.path])


def _fits(loaded: LoadedModel, plan: Plan) -> Iterator[_Fit]:
    for kind in (UnitKind.NEURON, UnitKind.HEAD):
        if plan.modes.get(kind) != "removed":
            continue
        for place, number in enumerate(plan.layers):
            (site, *_), (target, *_) = loaded.anatomy.sites(kind, number), plan.anatomy.sites(kind, place)
            kept = [unit * site.width + c for unit in plan.kept[kind][place] for c in range(site.width)]
            gone = sorted(set(range(site.count * site.width)) - set(kept))
            if gone:
                yield _Fit(site, target.path, kept, gone)


def _groups(fits: Iterator[_Fit]) -> Iterator[list[_Fit]]:
    """Yield the projections in groups whose covariances fit the memory together."""
    group: list[_Fit] = []
    for fit in fits:
        if group and sum(_bytes(one) for one in [*group, fit]) > MEMORY_BYTES:
            yield group
            group = []
        group.append(fit)
    if group:
        yield group


def _bytes(fit: _Fit) -> int:
    return 8 * (fit.site.count * fit.site.width) ** 2


class _Products:
    """Sums of z and of z times z over positions, float64."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.total = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, z: Tensor, _: Tensor | None) -> Tensor:
        rows = z.reshape(-1, z.shape[-1]).double()
        self.count += len(rows)
        self.total += rows.sum(0).cpu()
        self.products += (rows.T @ rows).cpu()
        return z


def _covariances(
    loaded: LoadedModel, task: Task[Any], examples: Sequence[Any], fits: Sequence[_Fit]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return (mean, mean of products) of the channels at each site, by the path in the smaller model."""
    sums = {fit.path: _Products(fit.site.count * fit.site.width) for fit in fits}
    with torch.inference_mode(), ExitStack() as stack:
        for fit in fits:
            stack.callback(hook(loaded.model, fit.site, sums[fit.path].add).remove)
        for example in examples:  # one at a time: padding must not count
            task.losses(loaded, [example])
    return {path: (one.total / one.count, one.products / one.count) for path, one in sums.items()}


def _refit(parent: nn.Module, target: nn.Module, fit: _Fit, mean: Tensor, products: Tensor) -> None:
    """Add to the weights that stay, and to the bias, what replaces those that go."""
    bias = getattr(target, "bias", None)
    covariance = products - torch.outer(mean, mean) if bias is not None else products
    kept, gone = torch.tensor(fit.kept), torch.tensor(fit.gone)
    own = covariance[kept][:, kept]
    own.diagonal().add_(RIDGE * own.diagonal().mean().clamp(min=1e-12))
    share = torch.linalg.solve(own, covariance[kept][:, gone]).T  # (gone, kept): how those that go follow the others
    weight = parent.get_parameter("weight").detach().double().cpu()
    lost = (weight.T if isinstance(parent, Conv1D) else weight)[:, gone]
    change = lost @ share
    parameter = target.get_parameter("weight")
    parameter.data.add_((change.T if isinstance(target, Conv1D) else change).to(parameter))
    if bias is not None:
        bias.data.add_((lost @ (mean[gone] - share @ mean[kept])).to(bias))
