"""Uncertainty of accuracies measured on a sample of examples. Torch-free."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm, t

from modelshapley.contracts import Comparison, Interval

CONFIDENCE = 0.95
FEWEST = 30  # examples, below which no interval is taken to be narrow: shares that happen to be equal have none
Bools = npt.NDArray[np.bool_]
Outcomes = npt.NDArray[Any]
"""One of each example: whether it was answered right, or the share of it that was, 0 to 1."""


def pack(outcomes: Outcomes) -> bytes:
    """Outcomes as bytes that :func:`unpack` reads: numpy's own format."""
    file = BytesIO()
    np.save(file, outcomes, allow_pickle=False)
    return file.getvalue()


def unpack(packed: bytes) -> Outcomes:
    found: Outcomes = np.load(BytesIO(packed), allow_pickle=False)
    return found


def mean_interval(outcomes: Outcomes) -> Interval:
    """95 % interval of the mean, in [0, 1]: Wilson's for right and wrong, Student's for shares."""
    if outcomes.dtype == np.bool_:
        return accuracy_interval(int(outcomes.sum()), len(outcomes))
    reach = mean_reach(outcomes)
    return max(0.0, float(outcomes.mean()) - reach), min(1.0, float(outcomes.mean()) + reach)


def half_width(interval: Interval) -> float:
    """Half the distance between the ends of an interval."""
    return (interval[1] - interval[0]) / 2


def accuracy_interval(correct: int, n: int) -> Interval:
    """95 % Wilson score interval of a proportion, in [0, 1]."""
    interval = binomtest(correct, n).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(now: Outcomes, before: Outcomes) -> tuple[float, Interval]:
    """Accuracy now minus before, on the same examples, with its 95 % interval; both in [-1, 1].

    For right and wrong the interval is Wald's with half an example added to each cell of the paired table (Agresti
    and Min 2005): unlike the plain one it does not shrink to nothing when no answer changed. For shares it is
    Student's, of the examples' differences.
    """
    n = len(now)
    if now.dtype != np.bool_ or before.dtype != np.bool_:
        differences = now.astype(np.float64) - before.astype(np.float64)
        mean, reach = float(differences.mean()), mean_reach(differences)
        return mean, (max(-1.0, mean - reach), min(1.0, mean + reach))
    gained, lost = int(np.sum(now & ~before)), int(np.sum(~now & before))
    difference = (gained - lost) / n
    centre = (gained - lost) / (n + 2)
    spread = np.sqrt(gained + lost + 1 - (gained - lost) ** 2 / (n + 2)) / (n + 2)
    reach = float(norm.ppf(0.5 + CONFIDENCE / 2)) * spread
    return difference, (max(-1.0, float(centre - reach)), min(1.0, float(centre + reach)))


def mean_reach(values: npt.NDArray[np.float64]) -> float:
    """Half the width of the 95 % interval of a mean, Student's; infinite for a single value."""
    if len(values) < 2:
        return float("inf")
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * error)


def precise_enough(comparison: Comparison, wanted: float) -> bool:
    """Whether a trial may stop here: the 95 % interval of its accuracy is at most twice `wanted` long.

    wanted: half a length, as a fraction: 0.05 is five points; near 0 and 1 the longer side of Wilson's interval is
    longer than that. Never with fewer than 30 examples.
    """
    return comparison.n >= FEWEST and half_width(comparison.interval) <= wanted
