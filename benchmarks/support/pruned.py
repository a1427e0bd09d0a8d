"""Outcomes of smaller models of one size, pooled over seeds, and the best of them against ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelshapley.evaluation.intervals import CONFIDENCE, mean_interval, paired_difference

Array = npt.NDArray[np.float64]


@dataclass
class Measured:
    """One seed and share: names of the test examples; by method, their outcomes, and the perplexity of the text.

    chosen: name of the candidate that `recommend` chose. saved: what saving it gave, if it was saved.
    """

    seed: int
    share: float
    examples: list[str]
    outcomes: dict[str, list[float]]
    perplexity: dict[str, float]
    chosen: str
    saved: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(by_seed: Sequence[Measured]) -> dict[str, Any]:
    """Accuracies over all seeds, and ours against the peer that is best in hindsight."""
    names = [name for name in by_seed[0].outcomes if all(name in one.outcomes for one in by_seed)]
    pooled = {name: np.concatenate([np.array(one.outcomes[name]) for one in by_seed]) for name in names}
    examples = [example for one in by_seed for example in one.examples]
    best = max((name for name in names if name not in ("ours", "intact")), key=lambda name: float(pooled[name].mean()))
    difference, interval = clustered_difference(pooled["ours"], pooled[best], examples)
    return {
        "accuracy": {name: round(float(pooled[name].mean()), 4) for name in names},
        "interval_ours": [round(end, 4) for end in mean_interval(pooled["ours"] > 0.5)],
        "n": len(examples),
        "different_examples": len(set(examples)),
        "chosen": [one.chosen for one in by_seed],
        "best_peer": best,
        "ours_minus_best_peer": round(difference, 4),
        "interval": [round(end, 4) for end in interval],
        "perplexity": {name: round(value, 2) for name, value in by_seed[0].perplexity.items()},
    }


def clustered_difference(now: Array, before: Array, examples: Sequence[str]) -> tuple[float, tuple[float, float]]:
    """Return mean of now - before (right is 1) with its 95 % interval; measurements of one example count as one draw.

    Of the interval that clusters by example and the one that takes all as independent, the wider: where nearly no
    answer changes, the first shrinks to nothing.
    """
    from scipy.stats import t

    difference = now - before
    mean, (low, high) = paired_difference(now > 0.5, before > 0.5)
    _, cluster = np.unique(np.array(examples), return_inverse=True)
    residuals = np.bincount(cluster, weights=difference - difference.mean())
    groups = len(residuals)
    error = np.sqrt(groups / (groups - 1) * np.sum(residuals**2)) / len(difference)
    half = float(t.ppf(0.5 + CONFIDENCE / 2, groups - 1) * error)
    return mean, (low, high) if high - low > 2 * half else (mean - half, mean + half)
