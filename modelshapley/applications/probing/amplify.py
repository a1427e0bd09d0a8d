"""Amplify chosen units: does the model answer better with their activations scaled up than with random ones?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modelshapley.applications.random_units import random_draws
from modelshapley.contracts.applications.reports import AmplifiedPoint, AmplifyReport
from modelshapley.contracts.runs import Measured
from modelshapley.errors import BadParameter, ModelShapleyError
from modelshapley.evaluation.intervals import Outcomes, mean_interval, paired_difference
from modelshapley.evaluation.trials import answers, compare
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import LIMITS, Deactivation, Treatment

FACTORS = (1.1, 1.2, 1.3, 1.4, 1.5)
DRAWS = 5


def amplify(
    loaded: LoadedModel,
    task: Task[Any],
    units: Deactivation,
    factors: Sequence[float] = FACTORS,
    seed: int = 0,
    draws: int = DRAWS,
    same_layers: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    pause: Callable[[], None] = lambda: None,
) -> AmplifyReport:
    """Measure the accuracy on the test examples with the activations of units scaled by each factor.

    The same factor is applied to `draws` draws of as many random units, with same_layers of each layer. Nothing is
    trained, and the weights stay as they are. on_progress: called with (measurements done, their number); pause:
    between passes. Both may raise to stop. Raises ModelShapleyError without units, BadParameter for a factor below 1 or
    above 2, UnitOutOfRange, OutOfMemory.
    """
    highest = LIMITS["scale"][1]
    for factor in factors:
        if not 1 <= factor <= highest:
            raise BadParameter(f"A factor to amplify by goes from 1 to {highest:g}, not {factor:g}.")
    units.check(loaded.anatomy.shapes)
    if not len(units):
        raise ModelShapleyError("There is no unit to amplify; choose a larger share.")
    controls = random_draws(loaded, units, seed, draws, same_layers)
    total, done = 1 + len(factors) * (1 + draws), 0

    def measure(part: Deactivation, factor: float) -> Outcomes:
        nonlocal done
        latest = []
        for outcomes, _ in answers(loaded, task, replace(part, treatment=Treatment("scale", factor)), seed):
            latest = [outcomes]
            pause()
        done += 1
        on_progress(done, total)
        return latest[0]

    intact, points = measure(Deactivation(), 1.0), []
    for factor in factors:
        drawn = np.stack([measure(part, factor) for part in controls])
        points.append(_point(factor, measure(units, factor), drawn, intact))
    return AmplifyReport(
        model=loaded.id,
        task=task.info.id,
        units={kind: len(members) for kind, members in units.units},
        seed=seed,
        intact=Measured(accuracy=float(intact.mean()), interval=mean_interval(intact), n=len(intact)),
        points=points,
    )


def _point(factor: float, chosen: Outcomes, drawn: Outcomes, intact: Outcomes) -> AmplifiedPoint:
    """drawn: outcomes of each draw, (draws, examples)."""
    difference, interval = paired_difference(chosen, drawn.mean(0))
    return AmplifiedPoint(
        factor=factor,
        chosen=compare(chosen, intact),
        random=drawn.mean(1).tolist(),
        random_mean=float(drawn.mean()),
        chosen_minus_random=difference,
        random_interval=interval,
    )
