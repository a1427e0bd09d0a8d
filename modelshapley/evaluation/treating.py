"""Measuring a task with units treated: switched off, scaled, held, offset, or patched from corrupted prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from modelshapley.evaluation.activations import Activations
from modelshapley.interventions.gates import treated
from modelshapley.interventions.patching import patched
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation

Work = Callable[[LoadedModel, Sequence[Any]], Any]


@contextmanager
def treating(
    loaded: LoadedModel, task: Task[Any], deactivation: Deactivation, activations: Activations | None = None
) -> Iterator[Callable[[Work], Work]]:
    """Treat units while the block runs, without gradients; yield what turns `task.correct`, say, into what to call.

    Hooks are in place once for the block, around all its passes and what these keep. Patching is the exception: its
    hooks differ from pass to pass, since each is recorded on the corrupted examples first, so they belong to the work.
    activations: as in :func:`modelshapley.interventions.gates.treated`. Raises UnitOutOfRange, and BadTreatment for a
    treatment that these units or this task do not allow, or that lacks the activations.
    """
    with torch.inference_mode():
        if deactivation.treatment.needs_pairs:
            yield partial(_patching, task, deactivation)
        else:
            with treated(loaded.model, loaded.anatomy, deactivation, activations):
                yield _unchanged


def _unchanged(work: Work) -> Work:
    return work


def _patching(task: Task[Any], units: Deactivation, work: Work) -> Work:
    """Return `work` with the units patched: it is run on the corrupted examples first, then on the examples."""

    def run(loaded: LoadedModel, examples: Sequence[Any]) -> Any:
        corrupted = task.corrupted(examples)
        with patched(loaded.model, loaded.anatomy, units, lambda: work(loaded, corrupted)):
            return work(loaded, examples)

    return run
