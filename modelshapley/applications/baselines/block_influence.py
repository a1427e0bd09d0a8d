"""Block influence: how far a layer turns the residual stream, a baseline for leaving out layers (ShortGPT)."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from modelshapley.applications.baselines.provenance import provenance_of
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

BLOCK_INFLUENCE = "block-influence"


def block_influence(loaded: LoadedModel, task: Task[Any], limit: int = 64, seed: int = 0) -> ImportanceMap:
    """Return a map of layers: mean of 1 - cosine(stream before, stream after the block), 0 to 2.

    The mean is over the positions of an example, then over the first `limit` probe examples, one at a time so that no
    padding counts. Forward passes only; it knows nothing of the loss. Source: Men et al. 2024 (ShortGPT).
    """
    examples = task.select(loaded, Split.PROBE, seed, limit)
    rows = np.array([_of_one(loaded, task, example) for example in examples])
    n = len(rows)
    errors = rows.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.full(rows.shape[1], np.inf)
    provenance = provenance_of(loaded, task, BLOCK_INFLUENCE, n, seed)
    quantity = "1 - cosine of a block's input and output"
    layer = UnitKind.LAYER
    return ImportanceMap(BLOCK_INFLUENCE, quantity, False, {layer: rows.mean(0)}, {layer: errors}, provenance)


def _of_one(loaded: LoadedModel, task: Task[Any], example: Any) -> list[float]:
    values: dict[int, float] = {}

    def record(number: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        before: Tensor = args[0] if args else kwargs["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        if before.shape == after.shape:
            values[number] = float((1 - cosine_similarity(before.float(), after.float(), dim=-1)).mean())

    with torch.inference_mode(), ExitStack() as stack:
        for number, layer in enumerate(loaded.anatomy.layers):
            block = loaded.model.get_submodule(layer.block)
            stack.callback(block.register_forward_hook(partial(record, number), with_kwargs=True).remove)
        task.losses(loaded, [example])
    return [values[number] for number in range(len(loaded.anatomy.layers))]
