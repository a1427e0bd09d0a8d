"""Logits of a causal language model at a few positions of each row: its head is its most expensive map."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn


def logits_at(model: nn.Module, nodes: Sequence[Sequence[int]], **inputs: Any) -> Sequence[Tensor]:
    """Return the logits of one forward pass at ``nodes[row]``, for each row: (nodes of the row, vocabulary).

    nodes: the positions of each row, at least one, without repeats. The head is computed only at these if the model
    names its head module and calls it once with the hidden states of all rows; else at the positions that any row
    needs. What a model does to its logits afterwards (Gemma caps them) must work element by element.
    """
    positions = sorted({node for row in nodes for node in row})
    column_of = {node: number for number, node in enumerate(positions)}
    rows = [row for row, row_nodes in enumerate(nodes) for _ in row_nodes]
    columns = [column_of[node] for row_nodes in nodes for node in row_nodes]
    if accepts(model, "logits_to_keep"):
        inputs["logits_to_keep"] = torch.tensor(positions, device=inputs["input_ids"].device)
    counts = [len(row_nodes) for row_nodes in nodes]
    calls: list[bool] = []

    def select_nodes(_: nn.Module, args: tuple[Any, ...]) -> Any:
        calls.append(len(calls) == 0 and len(args) == 1 and args[0].shape[:-1] == (len(nodes), len(positions)))
        return (args[0][rows, columns][None],) if calls[-1] else None

    output_head = _head(model)
    handle = output_head.register_forward_pre_hook(select_nodes) if output_head is not None else None
    try:
        logits: Tensor = model(**inputs).logits
    finally:
        if handle is not None:
            handle.remove()
    if calls == [True]:
        return torch.split(logits[0], counts)
    if logits.shape[1] != len(positions):  # the model gave those of all positions
        columns = [node for row_nodes in nodes for node in row_nodes]
    return torch.split(logits[rows, columns], counts)


def accepts(model: nn.Module, name: str) -> bool:
    """Whether the model's forward names this argument; others may be refused, or ignored without a word."""
    return name in signature(model.forward).parameters


def forget_lengths(model: nn.Module) -> None:
    """Bring dynamic rotary frequencies back to those of a model that has seen no text yet.

    transformers 5.17 keeps the frequencies of the longest text until one comes that is shorter than the model's own
    length, so that what a text gives would depend on those before it.
    """
    for module in model.modules():
        original = getattr(module, "original_inv_freq", None)
        if isinstance(original, Tensor) and getattr(module, "rope_type", None) == "dynamic":
            module.inv_freq = original.to(module.inv_freq)  # type: ignore[arg-type]
            module.max_seq_len_cached = module.original_max_seq_len


def _head(model: nn.Module) -> nn.Module | None:
    """Return the module that computes logits from hidden states, if the model names it."""
    getter = getattr(model, "get_output_embeddings", None)
    head = getter() if getter is not None else None
    return head if isinstance(head, nn.Module) else None
