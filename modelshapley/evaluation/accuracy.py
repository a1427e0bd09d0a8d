"""How good a model is at a task in one state: its accuracy, and the loss that units are scored by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelshapley.contracts import Interval
from modelshapley.evaluation.intervals import Outcomes, mean_interval
from modelshapley.evaluation.treating import treating
from modelshapley.evaluation.trials import in_passes
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation

Array = npt.NDArray[np.float64]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Evaluation:
    """Measurements of each example, in order.

    losses: nats. token_shares: share of the reference answer's tokens that were the model's likeliest, given those
    before them, 0 to 1; None for tasks without such answers. tokens: number of these tokens; 1 for such tasks.
    outcomes: right or wrong, or the share that is right, of the first examples, as many as requested.
    """

    losses: Array
    tokens: Array
    token_shares: Array | None
    outcomes: Outcomes

    @property
    def accuracy(self) -> float:
        """Mean of the outcomes, 0 to 1."""
        return float(self.outcomes.mean())

    @property
    def interval(self) -> Interval:
        """95 % interval of the accuracy."""
        return mean_interval(self.outcomes)

    @property
    def loss(self) -> float:
        """Mean loss of an example, nats."""
        return float(self.losses.mean())

    @property
    def perplexity(self) -> float:
        """Perplexity: exp of the mean loss of a token."""
        return float(np.exp((self.losses * self.tokens).sum() / self.tokens.sum()))


def evaluate(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    examples: Sequence[Any],
    answers: int | None = None,
    on_progress: Progress = lambda done: None,
) -> Evaluation:
    """Measure the model with some units off. answers: number of examples with outcomes, all by default.

    on_progress: called with the number of examples passed so far, counting losses and answers alike.
    Raises UnitOutOfRange, OutOfMemory.
    """
    answers = len(examples) if answers is None else min(answers, len(examples))
    measured = _measure_chunks(loaded, task, deactivation, examples, partial(_teacher_forced, task), on_progress)
    outcomes = (
        _measure_chunks(
            loaded, task, deactivation, examples[:answers], task.correct, lambda n: on_progress(len(examples) + n)
        )
        if answers
        else np.zeros(0, dtype=bool)
    )
    shares = None if np.isnan(measured[:, 2]).any() else measured[:, 2]
    return Evaluation(measured[:, 0], measured[:, 1], shares, outcomes)


def _teacher_forced(task: Task[Any], loaded: LoadedModel, examples: Sequence[Any]) -> Tensor:
    """Return (examples, 3): loss; tokens that count; share of these that were the likeliest, nan if there are none."""
    scores = task.teacher_forced(loaded, examples)
    if scores is None:
        losses = task.losses(loaded, examples).double()
        return torch.stack([losses, torch.ones_like(losses), torch.full_like(losses, float("nan"))], dim=1)
    assert scores.right is not None
    return torch.stack([-scores.mean.double(), scores.count.double(), scores.right.double() / scores.count], dim=1)


def _measure_chunks(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    examples: Sequence[Any],
    work: Callable[[LoadedModel, Sequence[Any]], Tensor],
    on_progress: Progress,
) -> npt.NDArray[Any]:
    """Run `work` on all examples with some units off, in chunks; its values, (examples, ...)."""

    def measure(start: int, size: int) -> npt.NDArray[Any]:
        chosen = examples[start : start + size]
        with treating(loaded, task, deactivation) as treat:
            return in_passes(loaded, task, chosen, treat(work))

    batcher, chunks = AdaptiveBatcher(loaded, task.test_chunk, backward=False), []
    for start, count, chunk in batcher.chunks(measure, len(examples)):
        chunks.append(chunk)
        on_progress(start + count)
    return np.concatenate(chunks)
