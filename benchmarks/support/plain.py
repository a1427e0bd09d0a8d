"""Plain evaluation of questions with choices: each choice with its prompt is one sequence, in padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import Continuation
from modelshapley.tasks.base import Task
from modelshapley.tasks.batching import length_batches
from modelshapley.tasks.builtin.world_capitals import WorldCapitals
from modelshapley.tasks.kinds.multiple_choice import MultipleChoice

Rows = list[list[Continuation]]


def continuations_of(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> tuple[Rows, list[int]]:
    """Return the prompt with each choice, and the number of the right one, for each question."""
    if isinstance(task, MultipleChoice):
        return [task.continuations(loaded, e) for e in examples], [e.right for e in examples]
    assert isinstance(task, WorldCapitals)
    return [task.continuations(loaded, q) for q in examples], [q.answer for q in examples]


def plain_log_likelihoods(loaded: LoadedModel, rows: Rows, tokens: int, all_logits: bool) -> list[Tensor]:
    """Compute the mean log-likelihood of the tokens that count, (choices,) for each question, nats.

    tokens: largest batch, including padding. all_logits: compute logits everywhere, as a plain call of the model does;
    else from the first position on that counts in a batch.
    """
    flat = [continuation for row in rows for continuation in row]
    values = torch.zeros(len(flat))
    for places in length_batches([len(continuation.tokens) for continuation in flat], len(flat), tokens):
        values[places] = _batch(loaded, [flat[place] for place in places], all_logits)
    return list(values.split([len(row) for row in rows]))


def plain_answers(loaded: LoadedModel, rows: Rows, right: Sequence[int], tokens: int) -> np.ndarray:
    """Return whether the right choice is the likeliest, the first among equals: (questions,)."""
    likely = plain_log_likelihoods(loaded, rows, tokens, all_logits=True)
    return np.array([int(one.argmax()) == answer for one, answer in zip(likely, right, strict=True)])


def _batch(loaded: LoadedModel, continuations: Sequence[Continuation], all_logits: bool) -> Tensor:
    longest = max(len(continuation.tokens) for continuation in continuations)
    ids = torch.zeros((len(continuations), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, continuation in enumerate(continuations):
        ids[row, : len(continuation.tokens)] = torch.tensor(continuation.tokens)
        mask[row, : len(continuation.tokens)] = 1
    first = 0 if all_logits else min(continuation.start for continuation in continuations) - 1
    positions = torch.arange(first, longest)
    logits = loaded.model(
        input_ids=ids.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        use_cache=False,
        **({} if all_logits else {"logits_to_keep": positions.to(loaded.device)}),
    ).logits
    means = []
    for row, continuation in enumerate(continuations):
        counted = range(continuation.start, len(continuation.tokens))
        by_token = logits[row, [place - 1 - first for place in counted]].float().log_softmax(-1).cpu()
        means.append(by_token[range(len(counted)), [continuation.tokens[place] for place in counted]].mean())
    return torch.stack(means)
