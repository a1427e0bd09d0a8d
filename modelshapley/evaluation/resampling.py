"""Measuring with units patched from the corrupted prompts of a task of counterfactual pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelshapley.interventions.patching import patched
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation

Work = Callable[[LoadedModel, Sequence[Any]], Any]


def resampled(task: Task[Any], units: Deactivation, work: Work) -> Work:
    """Return `work` with the units patched: it is run on the corrupted examples first, then on the examples.

    work: `task.correct` or another method of the task. It raises UnitOutOfRange, and BadTreatment for experts and for
    a task without corrupted prompts.
    """

    def run(loaded: LoadedModel, examples: Sequence[Any]) -> Any:
        corrupted = task.corrupted(examples)
        with patched(loaded.model, loaded.anatomy, units, lambda: work(loaded, corrupted)):
            return work(loaded, examples)

    return run
