"""How alike two maps are: rank correlation, and which units both have on top. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, sqrt, tanh
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom, norm, spearmanr

from modelshapley.contracts import Interval
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
TOLD = ("model", "revision", "task", "task_fingerprint", "seed", "n", "class", "half", "method", "dtype")
TOP = (0.01, 0.05, 0.20)


@dataclass(frozen=True)
class Likeness:
    """Of one kind of unit. rho: Spearman's, None where one map is constant. overlap: {share: how many of the most
    important units of that share both maps have, 0 to 1; by chance it is the share itself}."""

    kind: UnitKind
    units: int
    rho: float | None
    overlap: dict[float, float]


def differences(one: ImportanceMap, other: ImportanceMap) -> dict[str, tuple[Any, Any]]:
    """What was not the same when the two were computed."""
    a, b = one.provenance, other.provenance
    return {name: (a.get(name), b.get(name)) for name in TOLD if a.get(name) != b.get(name)}


def compare_maps(one: ImportanceMap, other: ImportanceMap, anyway: bool = False) -> list[Likeness]:
    """For every kind of unit that both maps have.

    Raises ModelShapleyError where none is, where their shapes differ, and, unless `anyway`, where they are of
    tasks with different fingerprints: other examples, another prompt or split, or another seed.
    """
    differ = differences(one, other)
    if "task_fingerprint" in differ and not anyway:
        what = [f"{name} {a!r} and {b!r}" for name, (a, b) in differ.items() if name in ("task", "seed")]
        raise ModelShapleyError(
            f"The two maps are of different tasks ({', '.join(what) or 'the data, prompt or parts changed'}), so "
            "their scores measure different things. Compare them anyway with --anyway."
        )
    kinds = [kind for kind in one.scores if kind in other.scores]
    if not kinds:
        raise ModelShapleyError(
            f"The two maps share no kind of unit: {_names(one)} in the first, {_names(other)} in the second."
        )
    for kind in kinds:
        shapes = one.scores[kind].shape, other.scores[kind].shape
        if shapes[0] != shapes[1]:
            raise ModelShapleyError(
                f"The maps of {kind.value}s have shapes {shapes[0]} and {shapes[1]}; only models of equal shape "
                "can be compared."
            )
    return [_likeness(kind, one.scores[kind], other.scores[kind]) for kind in kinds]


def _likeness(kind: UnitKind, a: Array, b: Array) -> Likeness:
    there = np.isfinite(a) & np.isfinite(b)
    overlap = {share: Tops.of(a, b, share).overlap.fraction for share in TOP}
    return Likeness(kind, int(there.sum()), rank_correlation(a, b), overlap)


def rank_correlation(a: Array, b: Array) -> float | None:
    """Spearman's, over the places where both are finite; None for fewer than 3, or where either is constant."""
    a, b = a.reshape(-1), b.reshape(-1)
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return None
    return float(spearmanr(a[both], b[both]).statistic)


def correlation_interval(rho: float, n: int) -> Interval:
    """95 % interval of a Spearman correlation over n units (Fisher's z, variance of Bonett and Wright 2000).

    Half a step of the coefficient short of 1, so that a perfect order of few units is no certainty; -1 to 1 for
    fewer than 4.
    """
    if n < 4:
        return -1.0, 1.0
    most = 1 - 6 / (n * (n**2 - 1))
    reach = float(norm.ppf(0.975)) * sqrt((1 + rho**2 / 2) / (n - 3))
    z = atanh(max(-most, min(most, rho)))
    return tanh(z - reach), tanh(z + reach)


@dataclass(frozen=True)
class Overlap:
    """Of the k most important units of each of two maps: how many both have, and how many would be by chance, on
    average and in 95 % of cases."""

    k: int
    both: int
    expected: float
    by_chance: tuple[int, int]

    @property
    def fraction(self) -> float:
        return self.both / self.k


@dataclass(frozen=True)
class Tops:
    """The most important units of each of two maps. Places are those in the flattened arrays; units that only one
    of the maps has do not count.

    first, second: places of the tops, the highest score first. there: where both maps have a unit.
    """

    first: Places
    second: Places
    there: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, a: Array, b: Array, share: float) -> Self:
        """share: of the units, at least one."""
        there = (np.isfinite(a) & np.isfinite(b)).reshape(-1)
        first, second = (top_places(np.where(there, scores.reshape(-1), np.nan), share) for scores in (a, b))
        return cls(first, second, there)

    @property
    def both(self) -> Places:
        return self.first[self._among(self.second)[self.first]]

    @property
    def only_first(self) -> Places:
        return self.first[~self._among(self.second)[self.first]]

    @property
    def only_second(self) -> Places:
        return self.second[~self._among(self.first)[self.second]]

    @property
    def neither(self) -> Places:
        return np.flatnonzero(self.there & ~self._among(self.first) & ~self._among(self.second))

    @property
    def overlap(self) -> Overlap:
        k, n = len(self.first), int(self.there.sum())
        chance = hypergeom(n, k, k)
        middle = int(chance.ppf(0.025)), int(chance.ppf(0.975))
        return Overlap(k, len(self.both), k * k / n, middle)

    def _among(self, places: Places) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(self.there), dtype=bool)
        found[places] = True
        return found


def rank_at(scores: Array, place: int) -> int:
    """Rank of one unit by its place in the flattened array: 1 for the highest score, equal ones in unit order."""
    flat = scores.reshape(-1)
    return 1 + int((flat > flat[place]).sum()) + int((flat[:place] == flat[place]).sum())


def top_places(scores: Array, share: float) -> Places:
    """Places, in the flattened array, of the `share` of units with the highest scores, at least one.

    Highest first, equal ones in unit order.
    """
    flat = scores.reshape(-1)
    k = max(1, round(share * int(np.isfinite(flat).sum())))
    order: Places = np.argsort(-flat, kind="stable")[:k]  # NaN comes last
    return order


def shares(scores: Array) -> Array:
    """Scores as parts of all magnitude there is, so that maps of different quantities can be held side by side."""
    total = float(np.nansum(np.abs(scores)))
    return scores / total if total else np.zeros_like(scores) * scores


def _names(importance_map: ImportanceMap) -> str:
    return ", ".join(f"{kind.value}s" for kind in importance_map.scores)
