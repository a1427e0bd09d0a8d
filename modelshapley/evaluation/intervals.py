"""Uncertainty of accuracies measured on a sample of examples. Torch-free."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from modelshapley.contracts import Comparison, Interval

CONFIDENCE = 0.95
MIN_EXAMPLES = 30  # below this no interval counts as narrow: a few shares that happen to be equal have zero spread
Bools = npt.NDArray[np.bool_]
Outcomes = npt.NDArray[Any]
"""One entry for each example: whether it was answered right, or the share of it that was, 0 to 1."""


def pack(outcomes: Outcomes) -> bytes:
    """Serialise outcomes for :func:`unpack`, in numpy's own format."""
    file = BytesIO()
    np.save(file, outcomes, allow_pickle=False)
    return file.getvalue()


def unpack(packed: bytes) -> Outcomes:
    """Read outcomes written by :func:`pack`."""
    outcomes: Outcomes = np.load(BytesIO(packed), allow_pickle=False)
    return outcomes


def mean_interval(outcomes: Outcomes) -> Interval:
    """Return the 95 % interval of the mean, in [0, 1]: Wilson's for right and wrong, Student's for shares."""
    if outcomes.dtype == np.bool_:
        return accuracy_interval(int(outcomes.sum()), len(outcomes))
    half = mean_half_width(outcomes)
    return max(0.0, float(outcomes.mean()) - half), min(1.0, float(outcomes.mean()) + half)


def half_width(interval: Interval) -> float:
    """Return half the distance between the ends of an interval."""
    return (interval[1] - interval[0]) / 2


def accuracy_interval(correct: int, n: int) -> Interval:
    """Return the 95 % Wilson score interval of a proportion, in [0, 1]."""
    return proportion_interval(correct / n, n)


def proportion_interval(mean: float, n: int) -> Interval:
    """Return the 95 % Wilson score interval of a mean of n values from 0 to 1, in [0, 1].

    It is exact in form for right and wrong; for shares, which vary less at the same mean, it is too wide.
    """
    z2 = _normal_quantile() ** 2
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (mean * (1 - mean) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def paired_difference(now: Outcomes, before: Outcomes) -> tuple[float, Interval]:
    """Return accuracy now minus before, on the same examples, with its 95 % interval; both in [-1, 1].

    For right and wrong the interval is Wald's with half an example added to each cell of the paired table (Agresti
    and Min 2005): unlike the plain one it does not shrink to nothing when no answer changed. For shares it is
    Student's, of the examples' differences.
    """
    n = len(now)
    if now.dtype != np.bool_ or before.dtype != np.bool_:
        differences = now.astype(np.float64) - before.astype(np.float64)
        mean, half = float(differences.mean()), mean_half_width(differences)
        return mean, (max(-1.0, mean - half), min(1.0, mean + half))
    gained, lost = int(np.sum(now & ~before)), int(np.sum(~now & before))
    difference = (gained - lost) / n
    centre = (gained - lost) / (n + 2)
    spread = np.sqrt(gained + lost + 1 - (gained - lost) ** 2 / (n + 2)) / (n + 2)
    half = _normal_quantile() * spread
    return difference, (max(-1.0, float(centre - half)), min(1.0, float(centre + half)))


def mean_half_width(values: npt.NDArray[np.float64]) -> float:
    """Return half the width of Student's 95 % interval of a mean; infinite for a single value."""
    if len(values) < 2:
        return float("inf")
    from scipy.stats import t  # imported here for the reason in _normal_quantile

    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * error)


def precise_enough(comparison: Comparison, target: float) -> bool:
    """Return whether a trial may stop: the 95 % interval of its accuracy is at most twice `target` wide.

    target: half-width as a fraction: 0.05 is five points; near 0 and 1 the longer side of Wilson's interval is longer
    than that. A trial never stops with fewer than 30 examples.
    """
    return comparison.n >= MIN_EXAMPLES and half_width(comparison.interval) <= target


def _normal_quantile() -> float:
    """Return the standard normal's quantile of a two-sided interval.

    scipy is imported when it is used: it takes long, and passes over a model need no more than torch and transformers.
    """
    from scipy.stats import norm

    return float(norm.ppf(0.5 + CONFIDENCE / 2))
