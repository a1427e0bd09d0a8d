"""Faithfulness of a circuit: how much of a metric remains if only the highest-scored units keep their own activations.

The figures of MIB's circuit track (Mueller et al. 2025): CPR, the area under the faithfulness curve, and CMD, the area
between the curve and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation, Treatment, UnitKind

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
RESAMPLE = Treatment("resample")
Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class CircuitPoint:
    """A circuit of the highest-scored units. share: of all units. units: how many. metric: its mean over examples."""

    share: float
    units: int
    metric: float
    faithfulness: float


@dataclass(frozen=True)
class CircuitCurve:
    """Faithfulness of circuits of more and more units, on `examples` test examples.

    whole: the metric of the whole model. corrupted: that of the corrupted prompts, m0. Faithfulness is
    (metric - corrupted) / (whole - corrupted).
    """

    whole: float
    corrupted: float
    examples: int
    points: tuple[CircuitPoint, ...]

    @property
    def cpr(self) -> float:
        """Integrated circuit performance ratio: higher is better; above 1 where a circuit exceeds the model."""
        return area([p.share for p in self.points], [p.faithfulness for p in self.points])

    @property
    def cmd(self) -> float:
        """Integrated circuit-model distance: 0 is best."""
        return area([p.share for p in self.points], [abs(1 - p.faithfulness) for p in self.points])


def area(shares: Sequence[float], heights: Sequence[float]) -> float:
    """Return the area under straight lines between the points, from the first share to the last."""
    return float(np.trapezoid(heights, shares))


def circuit_curve(
    loaded: LoadedModel,
    task: Task[Any],
    scores: Mapping[UnitKind, Array],
    limit: int | None = None,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    treatment: Treatment = RESAMPLE,
    pause: Callable[[], None] = lambda: None,
) -> CircuitCurve:
    """Measure the faithfulness of the units with the highest scores, all given kinds ranked together.

    The metric is minus the task's loss: the difference of two logits on a task of counterfactual pairs. Of each
    circuit, all other units of these kinds are treated, by default patched from the corrupted prompt; units of other
    kinds, and the embeddings, stay as they are. limit: at most so many test examples. pause: called between two
    circuits. Raises BadTreatment for a task without corrupted prompts, ModelShapleyError where the metric is the same
    for both prompts.
    """
    examples = task.select(loaded, Split.TEST, seed, limit)
    whole = _metric(loaded, task, Deactivation(), examples)
    corrupted = _metric(loaded, task, Deactivation(), task.corrupted(examples))
    if whole == corrupted:
        raise ModelShapleyError("The metric is the same for clean and corrupted prompts, so nothing can be faithful.")
    points = []
    for share, kept, others in _circuits(scores, shares, treatment):
        pause()
        metric = _metric(loaded, task, others, examples)
        points.append(CircuitPoint(share, kept, metric, (metric - corrupted) / (whole - corrupted)))
    return CircuitCurve(whole, corrupted, len(examples), tuple(points))


def _circuits(
    scores: Mapping[UnitKind, Array], shares: Sequence[float], treatment: Treatment
) -> Generator[tuple[float, int, Deactivation]]:
    """Yield each share with the number of units in its circuit, rounded down, and all units outside it."""
    units = [
        (float(values[tuple(place)]), kind, tuple(place))
        for kind, values in scores.items()
        for place in np.argwhere(np.isfinite(values)).tolist()
    ]
    ranked = sorted(units, key=lambda unit: -unit[0])
    for share in shares:
        kept = int(share * len(ranked))
        others: dict[UnitKind, list[tuple[int, ...]]] = {}
        for _, kind, place in ranked[kept:]:
            others.setdefault(kind, []).append(place)
        yield share, kept, Deactivation.of(others, treatment)


def _metric(loaded: LoadedModel, task: Task[Any], units: Deactivation, examples: Collection[Any]) -> float:
    """Return minus the mean loss."""
    return -evaluate(loaded, task, units, list(examples), answers=0).loss
