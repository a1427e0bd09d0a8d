"""Uncertainty of accuracies measured on a sample of examples. Torch-free."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from modelshapley.contracts import Interval

CONFIDENCE = 0.95
Bools = npt.NDArray[np.bool_]


def accuracy_interval(correct: int, n: int) -> Interval:
    """95 % Wilson score interval of a proportion, in [0, 1]."""
    interval = binomtest(correct, n).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(now: Bools, before: Bools) -> tuple[float, Interval]:
    """Accuracy now minus before, on the same examples, with its 95 % interval; both in [-1, 1].

    The interval is Wald's with half an example added to each cell of the paired table (Agresti and Min
    2005): unlike the plain one it does not shrink to nothing when no answer changed.
    """
    n = len(now)
    gained, lost = int(np.sum(now & ~before)), int(np.sum(~now & before))
    difference = (gained - lost) / n
    centre = (gained - lost) / (n + 2)
    spread = np.sqrt(gained + lost + 1 - (gained - lost) ** 2 / (n + 2)) / (n + 2)
    reach = float(norm.ppf(0.5 + CONFIDENCE / 2)) * spread
    return difference, (max(-1.0, float(centre - reach)), min(1.0, float(centre + reach)))
