"""Questions with choices the plain way: every choice with its prompt a sequence of its own, in padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.tasks.batching import length_batches
from modelshapley.tasks.builtin.world_capitals import WorldCapitals
from modelshapley.tasks.kinds.multiple_choice import MultipleChoice
from modelshapley.tasks.language.prefix_tree import Continuation

Rows = list[list[Continuation]]


def sequels_of(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> tuple[Rows, list[int]]:
    """Of each question the prompt with each choice, and the right one's number."""
    if isinstance(task, MultipleChoice):
        return [task.continuations(loaded, e) for e in examples], [e.right for e in examples]
    assert isinstance(task, WorldCapitals)
    return [task.continuations(loaded, q) for q in examples], [q.answer for q in examples]


def plain_log_likelihoods(loaded: LoadedModel, rows: Rows, tokens: int, all_logits: bool) -> list[Tensor]:
    """Mean log-likelihood of a token that counts, (choices,) of each question, nats.

    tokens: of a batch at most, padding included. all_logits: as a plain call of the model computes them; else at
    the positions only that count in any sequence of a batch.
    """
    flat = [sequel for row in rows for sequel in row]
    found = torch.zeros(len(flat))
    for places in length_batches([len(sequel.tokens) for sequel in flat], len(flat), tokens):
        found[places] = _batch(loaded, [flat[place] for place in places], all_logits)
    return list(found.split([len(row) for row in rows]))


def plain_answers(loaded: LoadedModel, rows: Rows, right: Sequence[int], tokens: int) -> np.ndarray:
    """Whether the right choice is the likeliest, the first of equals: (questions,)."""
    likely = plain_log_likelihoods(loaded, rows, tokens, all_logits=True)
    return np.array([int(one.argmax()) == answer for one, answer in zip(likely, right, strict=True)])


def _batch(loaded: LoadedModel, continuations: Sequence[Continuation], all_logits: bool) -> Tensor:
    longest = max(len(sequel.tokens) for sequel in continuations)
    ids = torch.zeros((len(continuations), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequel in enumerate(continuations):
        ids[row, : len(sequel.tokens)] = torch.tensor(sequel.tokens)
        mask[row, : len(sequel.tokens)] = 1
    first = 0 if all_logits else min(sequel.start for sequel in continuations) - 1
    kept = torch.arange(first, longest)
    logits = loaded.model(
        input_ids=ids.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        use_cache=False,
        **({} if all_logits else {"logits_to_keep": kept.to(loaded.device)}),
    ).logits
    found = []
    for row, sequel in enumerate(continuations):
        counted = range(sequel.start, len(sequel.tokens))
        by_token = logits[row, [place - 1 - first for place in counted]].float().log_softmax(-1).cpu()
        found.append(by_token[range(len(counted)), [sequel.tokens[place] for place in counted]].mean())
    return torch.stack(found)
