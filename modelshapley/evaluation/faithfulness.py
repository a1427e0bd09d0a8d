"""Measure how faithful a map is: accuracy curves, agreement with sampled Shapley values, efficiency gap.

Everything is measured on the live model; only the scores come from the map. The measuring functions are generators
that yield control between forward passes (yielding None) and return what they measured, so that a worker can do
other work in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modelshapley.contracts import Agreement, Curve, CurvePoint, Efficiency, Effort, HarmChoice, RandomCurve, Which
from modelshapley.evaluation.intervals import Bools, Outcomes
from modelshapley.evaluation.sampling import stepped_up
from modelshapley.evaluation.trials import answers, compare
from modelshapley.interventions.gates import gated, gated_each
from modelshapley.maps.compare import rank_correlation
from modelshapley.maps.importance import HARMS, Sides, weigh
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.batching import batch_edges
from modelshapley.units import Deactivation, UnitKind, extreme_units

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Size of a measurement.

    least, most: fractions of the units to switch off. tests: largest number of held-out examples. draws: random orders
    for comparison. units, examples, pairs: for the sampled Shapley values, the number of units, of probe examples, and
    of antithetic pairs of coalitions for each example.
    """

    least: tuple[float, ...]
    most: tuple[float, ...]
    tests: int
    draws: int
    units: int
    examples: int
    pairs: int


FRACTIONS = (0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80)
PLANS: dict[Effort, Plan] = {
    "quick": Plan((0.2, 0.4), (0.05,), tests=48, draws=3, units=8, examples=16, pairs=2),
    "full": Plan(FRACTIONS, FRACTIONS, tests=100_000, draws=5, units=48, examples=64, pairs=4),
}


@dataclass(frozen=True)
class Bench:
    """A model on its task, ready to be measured.

    intact: the intact model's outcomes on the test examples, in the order of `seed`.
    """

    loaded: LoadedModel
    task: Task[Any]
    plan: Plan
    seed: int
    intact: Outcomes

    def curve(self, scores: Array, kind: UnitKind, which: Which) -> Generator[None, None, Curve]:
        """Measure accuracy with the plan's fractions of least or most important units off; scores have `kind`'s
        shape.
        """
        fractions = self.plan.least if which == "least" else self.plan.most
        points = []
        for fraction in fractions:
            off = extreme_units(scores, kind, which, fraction)
            outcomes = yield from self._answers(off)
            compared = compare(outcomes, self.intact).model_dump()
            points.append(CurvePoint(**compared, fraction=fraction, units=len(off)))
        start = float(self.intact[: self.plan.tests].mean())
        return Curve(which=which, points=points, area=area(start, fractions, [p.accuracy for p in points]))

    def random_curve(self, kind: UnitKind) -> Generator[None, None, RandomCurve]:
        """Measure the same in random order, at the fractions for the least important units."""
        fractions, shape = self.plan.least, self.loaded.anatomy.shapes.of(kind)
        is_unit = self.loaded.anatomy.shapes.is_unit(kind)
        accuracies = np.zeros((self.plan.draws, len(fractions)))
        for draw in range(self.plan.draws):
            rng = np.random.default_rng([self.seed, list(UnitKind).index(kind), draw])
            scores = np.where(is_unit, rng.random(shape), np.nan)
            for place, fraction in enumerate(fractions):
                outcomes = yield from self._answers(extreme_units(scores, kind, "least", fraction))
                accuracies[draw, place] = outcomes.mean()
        start = float(self.intact[: self.plan.tests].mean())
        return RandomCurve(
            unit=kind,
            fractions=list(fractions),
            accuracy=accuracies.mean(0).tolist(),
            lowest=accuracies.min(0).tolist(),
            highest=accuracies.max(0).tolist(),
            draws=self.plan.draws,
            area=area(start, fractions, accuracies.mean(0).tolist()),
        )

    def harm(self, sides: Sides, kind: UnitKind, default: float) -> Generator[None, None, HarmChoice]:
        """Choose the weight of harm to offer, by the curve of the least important units on probe examples.

        sides: help and harm, of `kind`'s shape. default: the method's own weight, which wins among equals.
        """
        intact = yield from self._answers(Deactivation(), Split.PROBE)
        is_unit = self.loaded.anatomy.shapes.is_unit(kind)
        areas = []
        for harm in HARMS:
            scores = np.where(is_unit, weigh(sides, harm)[0], np.nan)
            accuracies = []
            for fraction in self.plan.least:
                outcomes = yield from self._answers(extreme_units(scores, kind, "least", fraction), Split.PROBE)
                accuracies.append(float(outcomes.mean()))
            areas.append(area(float(intact.mean()), self.plan.least, accuracies))
        best = min(zip(areas, HARMS, strict=True), key=lambda pair: (-round(pair[0], 9), abs(pair[1] - default)))
        return HarmChoice(harms=list(HARMS), areas=areas, offered=best[1], n=len(intact))

    def worth(self, kind: UnitKind, limit: int) -> Generator[None, None, float]:
        """Measure U(all on) - U(all off), nats, for the units of a kind, on the first `limit` probe examples."""
        total, n = 0.0, 0
        shape = self.loaded.anatomy.shapes.of(kind)
        for batch in self._batches(limit):
            losses = []
            for factor in (0.0, 1.0):
                factors = {kind: np.full(shape, factor)}
                with torch.inference_mode(), gated(self.loaded.model, self.loaded.anatomy, factors):
                    losses.append(self.task.losses(self.loaded, batch).double().sum().item())
                yield
            total += losses[0] - losses[1]
            n += len(batch)
        return total / n

    def truth(self, kind: UnitKind, limit: int) -> Generator[None, None, SubsetTruth]:
        """Sample the Shapley values of a random subset of a kind's units, by marginal utilities in random
        coalitions.
        """
        places = np.flatnonzero(self.loaded.anatomy.shapes.is_unit(kind))
        rng = np.random.default_rng([self.seed, list(UnitKind).index(kind)])
        units = np.sort(rng.choice(places, min(self.plan.units, len(places)), replace=False))
        rows = []
        for number, batch in enumerate(self._batches(min(limit, self.plan.examples))):
            draws = np.random.default_rng([self.seed, list(UnitKind).index(kind), 1, number])
            marginals = yield from self._marginals(batch, kind, units, draws)
            rows.append(marginals)
        return SubsetTruth(units, np.concatenate(rows, axis=1), len(places))

    def _marginals(
        self, batch: Sequence[Any], kind: UnitKind, units: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> Generator[None, None, Array]:
        """Measure what each unit adds to random coalitions of the others, (coalitions, examples, units), nats.

        In a coalition every unit is on with probability t, t uniform, which gives a Shapley value in expectation (Owen
        1972) whether the unit itself was in or not; the second coalition of a pair is the complement of the first.
        Each pair spreads t evenly over the examples.
        """
        table = self.loaded.anatomy.shapes.table(kind)
        coalitions = []
        for _ in range(self.plan.pairs):
            t = (rng.permutation(len(batch)) + rng.random(len(batch)))[:, None] / len(batch)
            on = rng.random((len(batch), table[0] * table[1])) < t
            coalitions += [on, ~on]
        marginals = np.zeros((len(coalitions), len(batch), len(units)))
        for place, on in enumerate(coalitions):
            utility = yield from self._utilities(batch, kind, on)
            for column, unit in enumerate(units):
                flipped = on.copy()
                flipped[:, unit] = ~on[:, unit]
                flipped_utility = yield from self._utilities(batch, kind, flipped)
                marginals[place, :, column] = np.where(
                    on[:, unit], utility - flipped_utility, flipped_utility - utility
                )
        return marginals

    def _utilities(self, batch: Sequence[Any], kind: UnitKind, on: Bools) -> Generator[None, None, Array]:
        """Measure minus the loss of each example in its own coalition, (examples,), nats."""
        table = self.loaded.anatomy.shapes.table(kind)
        gates = torch.from_numpy(on.reshape(len(batch), *table)).float().to(self.loaded.device)
        with torch.inference_mode(), gated_each(self.loaded.model, self.loaded.anatomy, kind, gates):
            losses: Array = self.task.losses(self.loaded, batch).double().cpu().numpy()
        yield
        return -losses

    def _answers(self, off: Deactivation, split: Split = Split.TEST) -> Generator[None, None, Outcomes]:
        """Measure the outcomes on as many examples of the split as the plan says."""
        outcomes: Outcomes = np.zeros(0, dtype=bool)
        for outcomes, _ in answers(self.loaded, self.task, off, self.seed, split):
            yield
            if len(outcomes) >= self.plan.tests:
                break
        return outcomes[: self.plan.tests]

    def _batches(self, limit: int) -> list[Sequence[Any]]:
        examples = self.task.select(self.loaded, Split.PROBE, self.seed, limit)
        sizes = [self.task.size(self.loaded, example) for example in examples]
        edges = batch_edges(sizes, self.loaded.batch_size(self.task.probe_batch, sizes), self.task.pass_tokens)
        return [examples[start:stop] for start, stop in pairwise(edges)]


@dataclass(frozen=True)
class SubsetTruth:
    """Sampled Shapley values of some units.

    units: their places in the flattened score array. marginals: (coalitions, examples, units), nats. players: how
    many units there are in all.
    """

    units: npt.NDArray[np.int64]
    marginals: Array
    players: int

    @property
    def values(self) -> Array:
        values: Array = self.marginals.mean((0, 1))
        return values

    def reliability(self, splits: int = 50) -> float | None:
        """Estimate the correlation of the values with those from as many other coalitions; None if it is undefined.

        It comes from halves of each example's pairs, stepped up to full length (Spearman and Brown). Examples are not
        resampled: map and sampled values share the same ones.
        """
        pairs = self.marginals.reshape(-1, 2, *self.marginals.shape[1:]).mean(1)
        rng = np.random.default_rng(0)
        correlations = []
        for _ in range(splits):
            order = np.argsort(rng.random(pairs.shape[:2]), axis=0)[..., None]
            mixed = np.take_along_axis(pairs, order, axis=0)
            half = len(pairs) // 2
            rho = rank_correlation(mixed[:half].mean((0, 1)), mixed[half:].mean((0, 1))) if half else None
            if rho is None:
                return None
            correlations.append(rho)
        mean = float(np.mean(correlations))
        return stepped_up(mean) if mean > 0 else 0.0

    def agreement(self, scores: Array) -> Agreement:
        """Measure how a map's scores of the same kind rank these units."""
        return Agreement(
            rho=rank_correlation(scores.reshape(-1)[self.units], self.values),
            reliability=self.reliability(),
            units=len(self.units),
            examples=self.marginals.shape[1],
            coalitions=self.marginals.shape[0],
        )


def efficiency(scores: Array, worth: float) -> Efficiency:
    """Return the efficiency gap of a kind's scores; `worth` comes from :meth:`Bench.worth`, on the scored examples."""
    total = float(np.nansum(scores))
    return Efficiency(scores=total, measured=worth, gap=(total - worth) / abs(worth) if worth else float("inf"))


def area(start: float, fractions: Sequence[float], accuracy: Sequence[float]) -> float:
    """Return the mean height of the line through (0, start) and the points, from 0 to the last fraction."""
    return float(np.trapezoid([start, *accuracy], [0.0, *fractions])) / fractions[-1]


def finish(measuring: Generator[None, None, Any], pause: Callable[[], None] = lambda: None) -> Any:
    """Run a measuring function to its end; `pause` is called between forward passes and may raise to stop it."""
    while True:
        try:
            next(measuring)
        except StopIteration as stop:
            return stop.value
        pause()
