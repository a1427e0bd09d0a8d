"""Accuracy of a model under a deactivation, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from modelshapley.contracts import Comparison
from modelshapley.evaluation.activations import Activations
from modelshapley.evaluation.hidden_states import HiddenStateCache
from modelshapley.evaluation.intervals import Outcomes, mean_interval, paired_difference
from modelshapley.evaluation.treating import treating
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.batching import length_batches
from modelshapley.units import Deactivation

Positions = tuple[int, ...]
PassRunner = Callable[[Positions, Callable[[], Tensor]], Tensor]


def answers(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    seed: int = 0,
    split: Split = Split.TEST,
    states: HiddenStateCache | None = None,
    activations: Activations | None = None,
    known_answers: Outcomes | None = None,
) -> Generator[tuple[Outcomes, int]]:
    """Yield (outcomes of all examples so far, total number of examples) after each chunk.

    An outcome is right or wrong, or how far right, as in :data:`Outcomes`. The hooks are in place only while a chunk
    runs, so a caller may stop, or use the model, between two chunks. A chunk that does not fit the memory is measured
    in smaller ones. states: hidden states of this model on the examples of this task, seed and split; nothing that
    they hold is computed again, and they store what is computed here. activations: statistics of this model, task and
    seed, for units at their mean or with an offset. known_answers: outcomes of the first examples, measured before;
    measuring continues after them, and if they are complete, they are yielded at once. Raises UnitOutOfRange,
    OutOfMemory, BadTreatment.
    """
    examples = task.select(loaded, split, seed)
    chunks: list[Outcomes] = [] if known_answers is None or not len(known_answers) else [known_answers[: len(examples)]]
    done = sum(map(len, chunks))
    if chunks and done == len(examples):
        yield chunks[0], done
    batcher = AdaptiveBatcher(loaded, task.test_chunk, backward=False)
    # A patched pass comes after another, on corrupted prompts, whose states belong to no example.
    if states is None or deactivation.treatment.needs_pairs:
        states = HiddenStateCache(0, 0, "no cache was given")
    first = loaded.anatomy.shapes.layers if deactivation.first_layer is None else deactivation.first_layer

    def measure(start: int, size: int) -> Outcomes:
        def run_pass(places: Positions, work: Callable[[], Tensor]) -> Tensor:
            return states.run(loaded, tuple(start + place for place in places), first, work)

        states.begin()
        with treating(loaded, task, deactivation, activations) as treat:
            return in_passes(loaded, task, examples[start : start + size], treat(task.correct), run_pass)

    for start, count, chunk in batcher.chunks(measure, len(examples), done, states.chunk):
        states.settle(start, count)
        chunks.append(chunk)
        yield np.concatenate(chunks), len(examples)


def in_passes(
    loaded: LoadedModel,
    task: Task[Any],
    examples: Sequence[Any],
    work: Callable[[LoadedModel, Sequence[Any]], Tensor],
    run_pass: PassRunner = lambda positions, work: work(),
) -> npt.NDArray[Any]:
    """Compute ``work(loaded, examples)``, (examples, ...), in passes of examples of similar size, in their own order.

    work: `task.correct` or another method of the task. run_pass: runs each pass, given the positions of its examples.
    """
    tokens = task.answer_tokens if work == task.correct else task.pass_tokens
    sizes = [task.size(loaded, example) for example in examples]
    parts = [
        (positions, run_pass(tuple(positions), partial(work, loaded, [examples[p] for p in positions])).cpu().numpy())
        for positions in length_batches(sizes, loaded.batch_size(len(examples), sizes), tokens)
    ]
    whole = np.empty((len(examples), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
    for positions, values in parts:
        whole[positions] = values
    return whole


def all_answers(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    seed: int = 0,
    states: HiddenStateCache | None = None,
    activations: Activations | None = None,
) -> Outcomes:
    """Return the outcomes of all test examples; see :func:`answers`."""
    *_, (correct, _total) = answers(loaded, task, deactivation, seed, states=states, activations=activations)
    return correct


def compare(outcomes: Outcomes, intact: Outcomes) -> Comparison:
    """Compare the outcomes so far with the intact model's on the same examples (at least one)."""
    n = len(outcomes)
    before = intact[:n]
    difference, difference_interval = paired_difference(outcomes, before)
    return Comparison(
        n=n,
        accuracy=float(outcomes.mean()),
        interval=mean_interval(outcomes),
        intact=float(before.mean()),
        intact_interval=mean_interval(before),
        difference=difference,
        difference_interval=difference_interval,
    )
