"""The verdict on a map, from a faithfulness report: a mark, a summary and the findings behind them. Pure.

There are three tests. Each is passed, failed or inconclusive, so that missing evidence never counts as trust.
The thresholds and their reasons: docs/methods.md, "How a verdict is made".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from modelshapley import formatting
from modelshapley.contracts import (
    Agreement,
    Curve,
    CurvePoint,
    Faithfulness,
    Finding,
    Interval,
    KindFaithfulness,
    Mark,
    Outcome,
    RandomCurve,
    Verdict,
    Which,
)
from modelshapley.evaluation.intervals import proportion_interval
from modelshapley.maps.compare import correlation_interval
from modelshapley.units import UnitKind

LEAST_FROM = 0.40  # the share of least important units that the summary quotes, or the next larger one
MOST_FROM = 0.05
AGREEMENT = 0.7  # of the largest correlation that the noise of the sampled values allows
NO_AGREEMENT = 0.5  # a correlation whose interval ends below this is none
MIN_RELIABILITY = 0.5  # below this the sampled Shapley values are mostly noise
MIN_DRAWS = 3  # random orders; the range of fewer says little about chance

LEAST_TEST = "Removing the least important"
MOST_TEST = "Removing the most important"
SHAPLEY_TEST = "Agreement with sampled Shapley values"


@dataclass(frozen=True)
class RandomRange:
    """The accuracy of random orders with a share of the units off, 0 to 1: the mean of the draws, and their range,
    from the lower end of the lowest draw's 95 % interval to the upper end of the highest's, both on n examples."""

    fraction: float
    mean: float
    low: float
    high: float


def verdict(report: Faithfulness, method: str, unit: UnitKind) -> Verdict:
    """Judge one kind of unit of the map of `method`, as it was scored."""
    entry, random = entry_of(report, method, unit), random_curve_of(report, unit)
    plural = formatting.PLURALS[unit]
    tests = [] if entry is None else findings(entry, random)
    if entry is None or not tests:
        return Verdict(mark=Mark.UNCHECKED, sentence=_unchecked(report, entry, plural))
    mark = _mark(tests)
    thin = _thin_evidence(report, entry, random)
    if mark is Mark.RELIABLE and thin:
        mark = Mark.PRELIMINARY
    sentence = f"{_lead(mark, tests, plural)} {_evidence(tests, mark)}"
    if not report.status.ended:
        sentence = f"Preliminary ({thin}). {sentence}"
    elif mark is Mark.PRELIMINARY:
        sentence = f"{sentence} Still preliminary: {thin}."
    return Verdict(mark=mark, sentence=sentence, findings=tests)


def _thin_evidence(report: Faithfulness, entry: KindFaithfulness, random: RandomCurve | None) -> str:
    """Say why the measurements do not suffice to call a map reliable; empty if they do."""
    if not report.status.ended:
        return f"{report.progress.done} of {report.progress.total} measurements"
    if random is not None and random.draws < MIN_DRAWS:
        orders = "one random order was" if random.draws == 1 else f"{random.draws} random orders were"
        return f"only {orders} measured"
    agreement = entry.agreement
    if agreement is not None and agreement.rho is not None and _is_noisy(agreement.reliability):
        return "the sampled Shapley values are too noisy to compare"
    return ""


def _is_noisy(reliability: float | None) -> bool:
    return reliability is None or reliability < MIN_RELIABILITY


def with_verdicts(report: Faithfulness) -> Faithfulness:
    """Return the report with the verdict of every entry."""
    judged = [e.model_copy(update={"verdict": verdict(report, e.method, e.unit)}) for e in report.maps]
    return report.model_copy(update={"maps": judged})


def entry_of(report: Faithfulness, method: str, unit: UnitKind) -> KindFaithfulness | None:
    """Return what was measured of one kind of unit of a map; None where it has no entry."""
    return next((e for e in report.maps if (e.method, e.unit) == (method, unit)), None)


def random_curve_of(report: Faithfulness, unit: UnitKind) -> RandomCurve | None:
    """Return the curve of random orders of a kind of unit; None until it is measured."""
    return next((curve for curve in report.random if curve.unit is unit), None)


def findings(entry: KindFaithfulness, random: RandomCurve | None) -> list[Finding]:
    """Return the tests that the measurements allow."""
    ranges = [] if random is None or entry.least is None else random_ranges(random, entry.least)
    tests = [
        _order(LEAST_TEST, entry.least, ranges, LEAST_FROM),
        _order(MOST_TEST, entry.most, ranges, MOST_FROM),
        _shapley(entry.agreement),
    ]
    return [test for test in tests if test is not None]


def random_ranges(random: RandomCurve, curve: Curve) -> list[RandomRange]:
    """Return the ranges of random orders, with the uncertainty that they have on as many examples as the curve."""
    n = curve.points[0].n if curve.points else 0
    draws = zip(random.fractions, random.accuracy, random.lowest, random.highest, strict=True)
    return [
        RandomRange(
            fraction,
            mean,
            proportion_interval(lowest, n)[0],
            proportion_interval(highest, n)[1],
        )
        for fraction, mean, lowest, highest in draws
        if n
    ]


def _order(name: str, curve: Curve | None, ranges: Sequence[RandomRange], first: float) -> Finding | None:
    """Compare a curve with random orders, at every share where these cost accuracy significantly.

    Passed: clearly better at more than half of these shares. Failed: not even better than their mean there.
    """
    if curve is None:
        return None
    points = [point for point in curve.points if point.units]
    by_fraction = {r.fraction: r for r in ranges}
    costly = [p for p in points if p.fraction in by_fraction and by_fraction[p.fraction].high < p.intact]
    if not costly:
        return _without_random(name, curve.which, points, by_fraction, first)
    pairs = [(p, by_fraction[p.fraction]) for p in costly]
    clear = sum(_clearly_better(curve.which, p, r) for p, r in pairs)
    no_better = sum(_no_better(curve.which, p, r) for p, r in pairs)
    outcome: Outcome = "inconclusive"
    if 2 * clear > len(pairs):
        outcome = "passed"
    elif 2 * no_better > len(pairs):
        outcome = "failed"
    quoted = next((p for p in costly if p.fraction >= first), costly[-1])
    random = by_fraction[quoted.fraction]
    where = f"at {no_better if outcome == 'failed' else f'only {clear}'} of {len(pairs)} shares"
    return Finding(
        name=name,
        outcome=outcome,
        short=f"{_short(curve.which, quoted)}{_compared(curve.which, quoted, random, outcome, where)}.",
        full=f"{_full(curve.which, quoted)}, {_random(random)} in random order. Clearly {_better(curve.which)} at "
        f"{clear} of the {len(pairs)} shares where random orders cost accuracy.",
    )


def _better(which: Which) -> str:
    return "higher" if which == "least" else "lower"


def _clearly_better(which: Which, point: CurvePoint, random: RandomRange) -> bool:
    """Whether its interval does not overlap the range of random orders."""
    return point.interval[0] > random.high if which == "least" else point.interval[1] < random.low


def _no_better(which: Which, point: CurvePoint, random: RandomRange) -> bool:
    return point.accuracy <= random.mean if which == "least" else point.accuracy >= random.mean


def _compared(which: Which, point: CurvePoint, random: RandomRange, outcome: Outcome, where: str) -> str:
    """Compare a point with random orders. The text must be true of this point, too, where the shares disagree.

    where: at how many shares the map is clearly better, or, if the test is failed, no better.
    """
    mean = formatting.percent(random.mean)
    if outcome == "passed":
        return f", compared with {mean} in random order"
    if outcome == "failed":
        if _no_better(which, point, random):
            return f", no better than in random order ({mean})"
        return f", compared with {mean} in random order, but no better {where}"
    if _clearly_better(which, point, random):
        return f", {_better(which)} than in random order ({mean}), but clearly so {where}"
    return f", not clearly {_better(which)} than in random order ({mean})"


def _without_random(
    name: str, which: Which, points: Sequence[CurvePoint], by_fraction: Mapping[float, RandomRange], first: float
) -> Finding | None:
    """Judge a curve where random orders cost nothing or were not measured; the most important by their own loss."""
    point = next((p for p in points if p.fraction >= first), points[-1] if points else None)
    if point is None:
        too_few = f"There are too few units to switch {100 * first:g} % off."
        return Finding(name=name, outcome="inconclusive", short=too_few, full=too_few)
    short, full = _short(which, point), _full(which, point)
    if which == "most":
        change = f"{formatting.points(point.difference)}, {formatting.points_interval(point.difference_interval)}"
        if point.difference_interval[1] < 0:
            return Finding(
                name=name, outcome="passed", short=f"{short}.", full=f"{full}, a significant loss ({change})."
            )
        return Finding(
            name=name,
            outcome="inconclusive",
            short=f"{short}, not a significant loss.",
            full=f"{full}, not a significant loss ({change}).",
        )
    if point.fraction not in by_fraction:
        return None
    random = by_fraction[point.fraction]
    return Finding(
        name=name,
        outcome="inconclusive",
        short=f"{short}, but random orders cost nothing significant either ({formatting.percent(random.mean)}).",
        full=f"{full}, {_random(random)} in random order. Random orders cost nothing significant, so this test "
        "cannot tell.",
    )


def _short(which: Which, point: CurvePoint) -> str:
    share = f"{100 * point.fraction:g} %"
    return f"Accuracy {formatting.percent(point.accuracy)} ({point.n} examples) with the {share} {which} important off"


def _full(which: Which, point: CurvePoint) -> str:
    share, interval = f"{100 * point.fraction:g} %", formatting.percent_interval(point.interval)
    return (
        f"Accuracy {formatting.percent(point.accuracy)} ({interval}, {point.n} examples) with the {share} {which} "
        "important off"
    )


def _random(random: RandomRange) -> str:
    return f"{formatting.percent(random.mean)} ({formatting.percent_interval((random.low, random.high))})"


def _shapley(agreement: Agreement | None) -> Finding | None:
    """Compare scores with sampled Shapley values; None where they cannot be compared."""
    if agreement is None or agreement.rho is None:
        return None
    rho, reliability = agreement.rho, agreement.reliability
    interval = correlation_interval(rho, agreement.units)
    noise = f"reliability {'unknown' if reliability is None else f'{reliability:.2f}'}"
    short = f"sampled Shapley values (ρ {formatting.signed(rho)}, {noise})."
    full = (
        f"sampled Shapley values of {agreement.units} units: ρ {formatting.signed(rho)} ({interval_of_rho(interval)}), "
        f"{noise}."
    )
    outcome: Outcome
    if _is_noisy(reliability):
        outcome, lead = "inconclusive", "Reference too noisy to compare:"
    elif rho <= 0 or interval[1] < NO_AGREEMENT:
        outcome, lead = "failed", "Scores disagree with"
    elif rho >= AGREEMENT * sqrt(reliability or 0.0) and interval[0] > 0:
        outcome, lead = "passed", "Scores agree with"
    else:
        outcome, lead = "inconclusive", "Agreement is uncertain with"
    return Finding(name=SHAPLEY_TEST, outcome=outcome, short=f"{lead} {short}", full=f"{lead} {full}")


def interval_of_rho(interval: Interval) -> str:
    """Write an interval of a correlation: '−0.12 to 0.53'."""
    return f"{formatting.signed(interval[0])} to {formatting.signed(interval[1])}"


_DECIDES: Mapping[Mark, tuple[Outcome, ...]] = {
    Mark.RELIABLE: ("passed",),
    Mark.PRELIMINARY: ("passed",),
    Mark.PARTLY: ("inconclusive", "failed"),
    Mark.UNRELIABLE: ("failed",),
}


def _evidence(tests: Sequence[Finding], mark: Mark) -> str:
    """Write the first finding of the outcome that decides the mark; a single passed test is too few for trust."""
    return next((test.short for test in tests if test.outcome in _DECIDES[mark]), tests[0].short)


def _mark(tests: Sequence[Finding]) -> Mark:
    """Doubt wins: RELIABLE needs the first test, one more, and nothing against it."""
    outcomes = [test.outcome for test in tests]
    first = tests[0].outcome if tests[0].name == LEAST_TEST else "inconclusive"
    if first == "failed" or ("failed" in outcomes and "passed" not in outcomes):
        return Mark.UNRELIABLE
    if first == "passed" and outcomes.count("passed") > 1 and "failed" not in outcomes:
        return Mark.RELIABLE
    return Mark.PARTLY


def _lead(mark: Mark, tests: Sequence[Finding], plural: str) -> str:
    if mark is Mark.PARTLY and not any(test.outcome == "passed" for test in tests):
        return f"The evidence for this ranking of {plural} is inconclusive."
    if mark is Mark.PRELIMINARY:
        return f"This ranking of {plural} has passed its tests so far."
    return f"This ranking of {plural} is {mark.value}."


def _unchecked(report: Faithfulness, entry: KindFaithfulness | None, plural: str) -> str:
    if report.error:
        return f"This ranking of {plural} is not checked. The check stopped before it reached them."
    if not report.status.ended:
        return f"This ranking of {plural} is not checked yet. The check is still in progress."
    if entry is not None and entry.halves is not None:
        rho = formatting.signed(entry.halves)
        return f"This ranking of {plural} is not checked. Two halves of the probe set agree with ρ {rho}."
    return f"This ranking of {plural} is not checked."
