"""Accuracy of a model under a deactivation, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from modelshapley.contracts import Comparison
from modelshapley.gates import switched_off
from modelshapley.intervals import Bools, accuracy_interval, paired_difference
from modelshapley.memory import Room
from modelshapley.models import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation


def answers(
    loaded: LoadedModel, task: Task[Any], deactivation: Deactivation, seed: int = 0, split: Split = Split.TEST
) -> Iterator[tuple[Bools, int]]:
    """Yield (right or wrong for every example of the split so far, number of them all) after each chunk.

    The hooks are in place only while a chunk runs, so a caller may stop, or use the model, between two.
    A chunk that does not fit the memory is measured in smaller ones. Raises UnitOutOfRange, OutOfMemory.
    """
    examples = task.examples(split, seed)
    correct = np.zeros(0, dtype=bool)
    room = Room(loaded, task.test_chunk, backward=False)

    def measure(start: int, size: int) -> Bools:
        with torch.inference_mode(), switched_off(loaded.model, loaded.anatomy, deactivation):
            found: Bools = task.correct(loaded, examples[start : start + size]).numpy()
            return found

    while len(correct) < len(examples):
        start = len(correct)
        _, chunk = room.run(partial(measure, start), len(examples) - start)
        correct = np.concatenate([correct, chunk])
        yield correct, len(examples)


def all_answers(loaded: LoadedModel, task: Task[Any], deactivation: Deactivation, seed: int = 0) -> Bools:
    """Right or wrong for every test example."""
    *_, (correct, _total) = answers(loaded, task, deactivation, seed)
    return correct


def compare(now: Bools, intact: Bools) -> Comparison:
    """Compare the answers so far with the intact model's to the same examples (at least one)."""
    n = len(now)
    before = intact[:n]
    difference, difference_interval = paired_difference(now, before)
    return Comparison(
        n=n,
        accuracy=float(now.mean()),
        interval=accuracy_interval(int(now.sum()), n),
        intact=float(before.mean()),
        intact_interval=accuracy_interval(int(before.sum()), n),
        difference=difference,
        difference_interval=difference_interval,
    )
