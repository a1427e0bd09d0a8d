"""The verdict on a map in one sentence: can it be trusted? Pure.

Three tests each pass, fail or stay open; what cannot be decided is open, so that doubt never reads as trust.
The thresholds and their reasons: docs/methods.md, "How a verdict is made".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import Literal

from modelshapley import formatting
from modelshapley.contracts import (
    Agreement,
    Curve,
    CurvePoint,
    Faithfulness,
    Interval,
    KindFaithfulness,
    RandomCurve,
    Which,
)
from modelshapley.evaluation.intervals import accuracy_interval
from modelshapley.maps.compare import correlation_interval
from modelshapley.units import UnitKind

LEAST_FRACTION = 0.40  # share of least important units that the sentence quotes, if it was measured
MOST_FRACTION = 0.05
MIN_AGREEMENT = 0.7  # share of the agreement that the sample's own noise allows
MAX_DISAGREEMENT = 0.5  # an interval that stays below this means no agreement
MIN_RELIABILITY = 0.5  # below this the sampled Shapley values are mostly noise

Outcome = Literal["passed", "open", "failed"]


class Mark(StrEnum):
    """How far a map can be trusted."""

    HOLDS = "holds"
    MIXED = "mixed"
    WEAK = "weak"
    UNCHECKED = "not checked"

    @property
    def shape(self) -> str:
        """A shape for each mark, so that marks differ without colour."""
        return {"holds": "●", "mixed": "◐", "weak": "○", "not checked": "?"}[self.value]


@dataclass(frozen=True)
class Finding:
    """A test with its outcome, described in short, and in full with n and intervals."""

    name: str
    outcome: Outcome
    short: str
    full: str


@dataclass(frozen=True)
class Verdict:
    """A mark and one sentence, with the findings behind them."""

    mark: Mark
    sentence: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class RandomRange:
    """Accuracy of random orders with a share of the units off, 0 to 1.

    mean: of the draws. low, high: ends of the 95 % intervals, on n examples, of the lowest and the highest draw.
    """

    fraction: float
    mean: float
    low: float
    high: float


def verdict(report: Faithfulness, method: str, unit: UnitKind) -> Verdict:
    """Judge one kind of unit of the map of `method`, as it was scored."""
    entry = entry_of(report, method, unit)
    plural = formatting.PLURALS[unit]
    results = [] if entry is None else findings(entry, chance_of(report, unit))
    if entry is None or not results:
        return Verdict(Mark.UNCHECKED, _unchecked(report, entry, plural))
    mark = _mark(results)
    sentence = f"{_opening(mark, results, plural)}: {_join_findings(results, mark)}."
    if not report.status.ended:
        sentence = f"So far, as the check goes on: {sentence[0].lower()}{sentence[1:]}"
    return Verdict(mark, sentence, tuple(results))


def entry_of(report: Faithfulness, method: str, unit: UnitKind) -> KindFaithfulness | None:
    """Return the measurements of one map and kind of unit; None until there are any."""
    return next((e for e in report.maps if (e.method, e.unit) == (method, unit)), None)


def chance_of(report: Faithfulness, unit: UnitKind) -> RandomCurve | None:
    """Return the curve of random orders for a kind of unit; None until it is measured."""
    return next((curve for curve in report.random if curve.unit is unit), None)


def findings(entry: KindFaithfulness, chance: RandomCurve | None) -> list[Finding]:
    """Return the tests that can be made so far."""
    reaches = [] if chance is None or entry.least is None else random_ranges(chance, entry.least)
    tests = [
        _test_order("what can go", entry.least, reaches, LEAST_FRACTION),
        _test_order("what matters", entry.most, reaches, MOST_FRACTION),
        _test_shapley(entry.agreement),
    ]
    return [test for test in tests if test is not None]


def random_ranges(chance: RandomCurve, curve: Curve) -> list[RandomRange]:
    """Return random orders with their uncertainty on as many examples as the curve."""
    n = curve.points[0].n if curve.points else 0
    ranges = zip(chance.fractions, chance.accuracy, chance.lowest, chance.highest, strict=True)
    return [
        RandomRange(
            fraction,
            mean,
            accuracy_interval(round(lowest * n), n)[0],
            accuracy_interval(round(highest * n), n)[1],
        )
        for fraction, mean, lowest, highest in ranges
        if n
    ]


def _test_order(name: str, curve: Curve | None, reaches: Sequence[RandomRange], first: float) -> Finding | None:
    """Test a curve against random orders, at every share where these clearly cost accuracy.

    It passes if it is clearly better at more than half of these shares, and fails if it is no better than the mean at
    more than half.
    """
    if curve is None:
        return None
    points = [point for point in curve.points if point.units]
    by_fraction = {r.fraction: r for r in reaches}
    costly = [p for p in points if p.fraction in by_fraction and by_fraction[p.fraction].high < p.intact]
    if not costly:
        return _without_random_cost(name, curve.which, points, by_fraction, first)
    pairs = [(p, by_fraction[p.fraction]) for p in costly]
    clear = sum(_clearly_better(curve.which, p, r) for p, r in pairs)
    no_better = sum(_no_better(curve.which, p, r) for p, r in pairs)
    outcome: Outcome = "open"
    if 2 * clear > len(pairs):
        outcome = "passed"
    elif 2 * no_better > len(pairs):
        outcome = "failed"
    quoted = next((p for p in costly if p.fraction >= first), costly[-1])
    chance = by_fraction[quoted.fraction]
    better = f"at {no_better if outcome == 'failed' else clear} of {len(pairs)} shares"
    return Finding(
        name,
        outcome,
        f"{_short(curve.which, quoted)}{_comparison(curve.which, quoted, chance, outcome, better)}",
        f"{_full(curve.which, quoted)}, {_random(chance)}; clearly better at {clear} of the {len(pairs)} shares at "
        "which random orders cost accuracy",
    )


def _clearly_better(which: Which, point: CurvePoint, chance: RandomRange) -> bool:
    """Return whether the point's interval does not touch that of the random orders."""
    return point.interval[0] > chance.high if which == "least" else point.interval[1] < chance.low


def _no_better(which: Which, point: CurvePoint, chance: RandomRange) -> bool:
    return point.accuracy <= chance.mean if which == "least" else point.accuracy >= chance.mean


def _comparison(which: Which, point: CurvePoint, chance: RandomRange, outcome: Outcome, better: str) -> str:
    """Compare a point with random orders, in words that hold for this point even where the shares disagree.

    better: number of shares at which the map is clearly better or, if the test failed, no better.
    """
    at_random = formatting.percent(chance.mean)
    more = "more" if which == "least" else "less"
    if outcome == "passed":
        return f" where random ones leave {at_random}"
    if outcome == "failed":
        if _no_better(which, point, chance):
            return f", no better than with random ones off ({at_random})"
        return f", with random ones off {at_random}, and no better {better}"
    if _clearly_better(which, point, chance):
        return f", {more} than with random ones off ({at_random}), but clearly so {better} only"
    return f", not clearly {more} than with random ones off ({at_random})"


def _without_random_cost(
    name: str, which: Which, points: Sequence[CurvePoint], by_fraction: Mapping[float, RandomRange], first: float
) -> Finding | None:
    """Judge a curve where random orders cost nothing or were not measured; the most important units by their own
    loss.
    """
    point = next((p for p in points if p.fraction >= first), points[-1] if points else None)
    if point is None:
        few = f"there are too few units to switch {100 * first:g} % off"
        return Finding(name, "open", few, few)
    short, full = _short(which, point), _full(which, point)
    if which == "most":
        change = f"{formatting.points(point.difference)}, {formatting.points_interval(point.difference_interval)}"
        if point.difference_interval[1] < 0:
            return Finding(name, "passed", short, f"{full}, a loss beyond doubt ({change})")
        return Finding(name, "open", f"{short}, no sure loss", f"{full}, no loss beyond doubt ({change})")
    if point.fraction not in by_fraction:
        return None
    chance = by_fraction[point.fraction]
    return Finding(
        name,
        "open",
        f"{short}, but random ones cost nothing sure either ({formatting.percent(chance.mean)})",
        f"{full}, {_random(chance)}: random orders cost nothing beyond doubt, so that this tells nothing",
    )


def _short(which: Which, point: CurvePoint) -> str:
    share = f"{100 * point.fraction:g} %"
    return f"with the {share} {which} important off {formatting.percent(point.accuracy)} of {point.n} are right"


def _full(which: Which, point: CurvePoint) -> str:
    return f"{_short(which, point)} ({formatting.percent_interval(point.interval)})"


def _random(chance: RandomRange) -> str:
    interval = formatting.percent_interval((chance.low, chance.high))
    return f"with random ones off {formatting.percent(chance.mean)} ({interval})"


def _test_shapley(agreement: Agreement | None) -> Finding | None:
    """Test how scores rank the units whose Shapley values were sampled; None where no correlation is defined."""
    if agreement is None or agreement.rho is None:
        return None
    name, rho = "Shapley values", agreement.rho
    interval = correlation_interval(rho, agreement.units)
    reliability = agreement.reliability
    reliability_text = "unknown" if reliability is None else f"{reliability:.2f}"
    short = f"sampled Shapley values (ρ {formatting.signed(rho)}, reliability {reliability_text})"
    full = (
        f"sampled Shapley values of {agreement.units} units: ρ {formatting.signed(rho)} "
        f"({interval_of_rho(interval)}), the sample's own reliability {reliability_text}"
    )
    if reliability is None or reliability < MIN_RELIABILITY:
        return Finding(name, "open", f"{short} are too noisy to tell", f"{full}, which is too noisy to tell")
    if rho <= 0 or interval[1] < MAX_DISAGREEMENT:
        return Finding(name, "failed", f"scores do not agree with {short}", f"no agreement with {full}")
    if rho >= MIN_AGREEMENT * sqrt(reliability) and interval[0] > 0:
        return Finding(name, "passed", f"scores agree with {short}", f"agreement with {full}")
    return Finding(
        name, "open", f"agreement with {short} is not sure", f"agreement that is too loose to be sure with {full}"
    )


def interval_of_rho(interval: Interval) -> str:
    """Format an interval of a correlation."""
    return f"{formatting.signed(interval[0])} to {formatting.signed(interval[1])}"


def _join_findings(findings: Sequence[Finding], mark: Mark) -> str:
    """Join the findings: those behind the mark first, then those against it."""
    passed = "; ".join(f.short for f in findings if f.outcome == "passed")
    others = "; ".join(f.short for f in findings if f.outcome != "passed")
    if not (passed and others):
        return passed or others
    return f"{others}; though {passed}" if mark is Mark.WEAK else f"{passed}; but {others}"


def _mark(findings: Sequence[Finding]) -> Mark:
    """Choose the mark; doubt wins: `holds` needs the first test, one more, and nothing against it."""
    outcomes = [finding.outcome for finding in findings]
    first = findings[0].outcome if findings[0].name == "what can go" else "open"
    if first == "failed" or ("failed" in outcomes and "passed" not in outcomes):
        return Mark.WEAK
    if first == "passed" and outcomes.count("passed") > 1 and "failed" not in outcomes:
        return Mark.HOLDS
    return Mark.MIXED


def _opening(mark: Mark, findings: Sequence[Finding], plural: str) -> str:
    if mark is Mark.HOLDS:
        return f"Believe the order of these {plural}"
    if mark is Mark.WEAK:
        return f"Do not build on the order of these {plural}"
    if any(finding.outcome == "passed" for finding in findings):
        return f"Believe the order of these {plural} with care"
    return f"Nothing sure speaks for the order of these {plural}"


def _unchecked(report: Faithfulness, entry: KindFaithfulness | None, plural: str) -> str:
    if report.error:
        return f"The check stopped before it came to these {plural}, so nobody knows whether their order is true."
    if not report.status.ended:
        return f"The check has not got to these {plural} yet."
    halves = ""
    if entry is not None and entry.halves is not None:
        halves = (
            f"; known is only that two halves of the probe set order them alike by ρ {formatting.signed(entry.halves)}"
        )
    return f"Nobody has measured yet whether the order of these {plural} is true{halves}."
