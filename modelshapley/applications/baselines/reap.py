"""REAP: how much a mixture of experts adds through each expert, a baseline for leaving out experts."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from modelshapley.applications.baselines.provenance import provenance_of
from modelshapley.architectures.anatomy import Experts
from modelshapley.errors import UnsupportedModel
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

REAP = "reap"
Array = npt.NDArray[np.float64]


def reap(loaded: LoadedModel, task: Task[Any], limit: int = 64, seed: int = 0) -> ImportanceMap:
    """Return a map of experts: mean of (routing weight x length of the expert's output) over the tokens routed to it.

    The weight is the one that the model mixes with: after the choice of experts, and normalised over them where the
    model does that. Tokens of the first `limit` probe examples count, which run one at a time so that no padding does.
    An expert that no token is routed to has 0. The standard error is that of a ratio of two sums over examples. Forward
    passes only; it knows nothing of the loss. Source: Lasby et al. 2025 (REAP), equation 9. Raises UnsupportedModel for
    models without experts.
    """
    anatomy, kind = loaded.anatomy, UnitKind.EXPERT
    if not anatomy.shapes.count(kind):
        raise UnsupportedModel(f"{loaded.id!r} has no experts, which {REAP} scores; choose another method.")
    examples = task.select(loaded, Split.PROBE, seed, limit)
    sums = np.stack([_of_one(loaded, task, example) for example in examples])  # (examples, 2, layers, experts)
    products, tokens = sums[:, 0], sums[:, 1]
    total = tokens.sum(0)
    scores = np.divide(products.sum(0), total, out=np.zeros_like(total), where=total > 0)
    errors = np.full_like(scores, np.inf)
    if len(examples) > 1:
        spread = np.sqrt(len(examples) / (len(examples) - 1) * np.square(products - scores * tokens).sum(0))
        errors = np.divide(spread, total, out=errors, where=total > 0)
    absent = ~anatomy.shapes.is_unit(kind)
    scores[absent] = errors[absent] = np.nan
    provenance = provenance_of(loaded, task, REAP, len(examples), seed)
    return ImportanceMap(REAP, "routing weight x output, a token", False, {kind: scores}, {kind: errors}, provenance)


def _of_one(loaded: LoadedModel, task: Task[Any], example: Any) -> Array:
    """Return the sum of products and the number of tokens of each expert, (2, layers, experts)."""
    sums = np.zeros((2, *loaded.anatomy.shapes.of(UnitKind.EXPERT)))
    with torch.inference_mode(), ExitStack() as stack:
        for number, layer in enumerate(loaded.anatomy.layers):
            if isinstance(layer.mlp, Experts):
                module = loaded.model.get_submodule(layer.mlp.path)
                stack.callback(module.register_forward_pre_hook(partial(_record, sums[:, number])).remove)
        task.losses(loaded, [example])
    return sums


def _record(sums: Array, module: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Add the tokens of one pass; args: states, experts of each token, their weights."""
    states, index, weights = args[:3]
    one = torch.ones_like(weights[:, :1])
    for place in range(index.shape[1]):
        chosen = index[:, place]
        # With a single expert a token and a weight of 1, the module gives that expert's output.
        output = module.forward(states, chosen[:, None], one)
        products = (output.double().norm(dim=-1) * weights[:, place].double()).cpu().numpy()
        np.add.at(sums[0], chosen.cpu().numpy(), products)
        np.add.at(sums[1], chosen.cpu().numpy(), 1)
