"""Accuracy of a model under a deactivation, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelshapley.contracts import Comparison
from modelshapley.evaluation.activations import Activations
from modelshapley.evaluation.hidden_states import HiddenStateCache
from modelshapley.evaluation.intervals import Outcomes, mean_interval, paired_difference
from modelshapley.interventions.gates import treated
from modelshapley.models.loading import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.batching import length_batches
from modelshapley.units import Deactivation

Places = tuple[int, ...]
Through = Callable[[Places, Callable[[], Tensor]], Tensor]


def answers(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    seed: int = 0,
    split: Split = Split.TEST,
    states: HiddenStateCache | None = None,
    activations: Activations | None = None,
    already: Outcomes | None = None,
) -> Iterator[tuple[Outcomes, int]]:
    """Yield (right or wrong, or how far right, for every example so far, number of them all) after each chunk.

    The hooks are in place only while a chunk runs, so a caller may stop, or use the model, between two.
    A chunk that does not fit the memory is measured in smaller ones. states: of this model, and of the examples
    of this task, seed and split; nothing that they hold is computed again, and they keep what is computed here.
    activations: of this model, task and seed, for units at their mean or with an offset. already: the answers to
    the first examples, known from before; measuring goes on behind them, and where they are all, they are yielded
    at once. Raises UnitOutOfRange, OutOfMemory, BadTreatment.
    """
    examples = task.select(loaded, split, seed)
    found: list[Outcomes] = [] if already is None or not len(already) else [already[: len(examples)]]
    done = sum(map(len, found))
    if found and done == len(examples):
        yield found[0], done
    batcher = AdaptiveBatcher(loaded, task.test_chunk, backward=False)
    states = states or HiddenStateCache(0, 0, "nothing is kept")
    first = loaded.anatomy.shapes.layers if deactivation.first_layer is None else deactivation.first_layer

    def measure(start: int, size: int) -> Outcomes:
        def through(places: Places, work: Callable[[], Tensor]) -> Tensor:
            return states.run(loaded, tuple(start + place for place in places), first, work)

        states.begin()
        with torch.inference_mode(), treated(loaded.model, loaded.anatomy, deactivation, activations):
            return in_passes(loaded, task, examples[start : start + size], task.correct, through)

    while done < len(examples):
        count, chunk = batcher.run(partial(measure, done), states.chunk(done, len(examples) - done))
        states.settle(done, count)
        found.append(chunk)
        done += count
        yield np.concatenate(found), len(examples)


def in_passes(
    loaded: LoadedModel,
    task: Task[Any],
    examples: Sequence[Any],
    work: Callable[[LoadedModel, Sequence[Any]], Tensor],
    through: Through = lambda places, work: work(),
) -> npt.NDArray[Any]:
    """``work(loaded, examples)``, (examples, ...), in passes of examples of like size; their order is kept.

    work: `task.correct`, or another of the task's. through: runs each pass, told the places of its examples.
    """
    tokens = task.answer_tokens if work == task.correct else task.pass_tokens
    sizes = [task.size(loaded, example) for example in examples]
    parts = [
        (places, through(tuple(places), partial(work, loaded, [examples[p] for p in places])).cpu().numpy())
        for places in length_batches(sizes, len(examples), tokens)
    ]
    whole = np.empty((len(examples), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
    for places, values in parts:
        whole[places] = values
    return whole


def all_answers(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    seed: int = 0,
    states: HiddenStateCache | None = None,
    activations: Activations | None = None,
) -> Outcomes:
    """Right or wrong, or how far right, for every test example; see :func:`answers`."""
    *_, (correct, _total) = answers(loaded, task, deactivation, seed, states=states, activations=activations)
    return correct


def compare(now: Outcomes, intact: Outcomes) -> Comparison:
    """Compare the answers so far with the intact model's to the same examples (at least one)."""
    n = len(now)
    before = intact[:n]
    difference, difference_interval = paired_difference(now, before)
    return Comparison(
        n=n,
        accuracy=float(now.mean()),
        interval=mean_interval(now),
        intact=float(before.mean()),
        intact_interval=mean_interval(before),
        difference=difference,
        difference_interval=difference_interval,
    )
