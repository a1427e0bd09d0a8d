"""Logits of a causal language model at a few positions of each row: its head is the dearest map it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def logits_at(model: nn.Module, nodes: Sequence[Sequence[int]], **inputs: Any) -> Sequence[Tensor]:
    """The logits of one forward pass at ``nodes[row]``, for each row: (nodes of the row, vocabulary).

    nodes: of each row its positions, at least one, without repeats. Only at these the head is computed, where the
    model tells which module it is and calls it once with the hidden states of all rows; else at the positions that
    any row wants. What a model does to its logits afterwards (Gemma caps them) must go element by element.
    """
    kept = sorted({node for row in nodes for node in row})
    place = {node: number for number, node in enumerate(kept)}
    rows = [row for row, wanted in enumerate(nodes) for _ in wanted]
    columns = [place[node] for wanted in nodes for node in wanted]
    inputs["logits_to_keep"] = torch.tensor(kept, device=inputs["input_ids"].device)
    counts = [len(wanted) for wanted in nodes]
    calls: list[bool] = []

    def only_these(_: nn.Module, args: tuple[Any, ...]) -> Any:
        calls.append(len(calls) == 0 and len(args) == 1 and args[0].shape[:-1] == (len(nodes), len(kept)))
        return (args[0][rows, columns][None],) if calls[-1] else None

    head = _head(model)
    handle = head.register_forward_pre_hook(only_these) if head is not None else None
    try:
        logits: Tensor = model(**inputs).logits
    finally:
        if handle is not None:
            handle.remove()
    if calls == [True]:
        return torch.split(logits[0], counts)
    return torch.split(logits[rows, columns], counts)


def _head(model: nn.Module) -> nn.Module | None:
    """The module that makes logits out of hidden states, where the model tells."""
    told = getattr(model, "get_output_embeddings", None)
    found = told() if told is not None else None
    return found if isinstance(found, nn.Module) else None
