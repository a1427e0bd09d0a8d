"""Comparison of two maps: rank correlation, and the top units that they share. Torch-free."""

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
COMPARED_FIELDS = ("model", "revision", "task", "task_fingerprint", "seed", "n", "class", "half", "method", "dtype")
TOP_SHARES = (0.01, 0.05, 0.20)


@dataclass(frozen=True)
class MapComparison:
    """Comparison of two maps for one kind of unit.

    rho: Spearman's, None where one map is constant. overlap: {share: fraction of the most important units of that
    share that both maps have, 0 to 1; by chance it is the share itself}.
    """

    kind: UnitKind
    units: int
    rho: float | None
    overlap: dict[float, float]


def differences(one: ImportanceMap, other: ImportanceMap) -> dict[str, tuple[Any, Any]]:
    """Return the conditions that differed when the two maps were computed, {name: (first, second)}."""
    a, b = one.provenance, other.provenance
    return {name: (a.get(name), b.get(name)) for name in COMPARED_FIELDS if a.get(name) != b.get(name)}


def compare_maps(one: ImportanceMap, other: ImportanceMap, anyway: bool = False) -> list[MapComparison]:
    """Compare two maps for every kind of unit that both have.

    Raises ModelShapleyError if there is none, if their shapes differ and, unless `anyway`, if their tasks have
    different fingerprints: other examples, another prompt or split, or another seed.
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
    return [_compare_kind(kind, one.scores[kind], other.scores[kind]) for kind in kinds]


def _compare_kind(kind: UnitKind, a: Array, b: Array) -> MapComparison:
    is_unit = np.isfinite(a) & np.isfinite(b)
    overlap = {share: Tops.of(a, b, share).overlap.fraction for share in TOP_SHARES}
    return MapComparison(kind, int(is_unit.sum()), rank_correlation(a, b), overlap)


def rank_correlation(a: Array, b: Array) -> float | None:
    """Return Spearman's correlation where both are finite; None for fewer than 3 units, or if either is constant."""
    a, b = a.reshape(-1), b.reshape(-1)
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return None
    return float(spearmanr(a[both], b[both]).statistic)


def correlation_interval(rho: float, n: int) -> Interval:
    """Return the 95 % interval of a Spearman correlation over n units (Fisher's z, variance of Bonett and Wright 2000).

    rho is limited to one step of the coefficient short of 1, so that a perfect order of few units is not certain; the
    interval is -1 to 1 for fewer than 4 units.
    """
    if n < 4:
        return -1.0, 1.0
    largest = 1 - 6 / (n * (n**2 - 1))
    half = float(norm.ppf(0.975)) * sqrt((1 + rho**2 / 2) / (n - 3))
    z = atanh(max(-largest, min(largest, rho)))
    return tanh(z - half), tanh(z + half)


@dataclass(frozen=True)
class Overlap:
    """Overlap of the k most important units of two maps.

    both: number that they share. expected, by_chance: the same number by chance, on average and in 95 % of cases.
    """

    k: int
    both: int
    expected: float
    by_chance: tuple[int, int]

    @property
    def fraction(self) -> float:
        return self.both / self.k


@dataclass(frozen=True)
class Tops:
    """The most important units of each of two maps.

    Places are indices into the flattened arrays; units that only one of the maps has do not count.

    first, second: places of the top units, the highest score first. is_unit: True where both maps have a unit.
    """

    first: Places
    second: Places
    is_unit: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, a: Array, b: Array, share: float) -> Self:
        """Find the top `share` of the units of two score arrays, at least one unit."""
        is_unit = (np.isfinite(a) & np.isfinite(b)).reshape(-1)
        first, second = (top_places(np.where(is_unit, scores.reshape(-1), np.nan), share) for scores in (a, b))
        return cls(first, second, is_unit)

    @property
    def both(self) -> Places:
        return self.first[self._contains(self.second)[self.first]]

    @property
    def only_first(self) -> Places:
        return self.first[~self._contains(self.second)[self.first]]

    @property
    def only_second(self) -> Places:
        return self.second[~self._contains(self.first)[self.second]]

    @property
    def neither(self) -> Places:
        return np.flatnonzero(self.is_unit & ~self._contains(self.first) & ~self._contains(self.second))

    @property
    def overlap(self) -> Overlap:
        k, n = len(self.first), int(self.is_unit.sum())
        chance = hypergeom(n, k, k)
        middle = int(chance.ppf(0.025)), int(chance.ppf(0.975))
        return Overlap(k, len(self.both), k * k / n, middle)

    def _contains(self, places: Places) -> npt.NDArray[np.bool_]:
        mask = np.zeros(len(self.is_unit), dtype=bool)
        mask[places] = True
        return mask


def rank_at(scores: Array, place: int) -> int:
    """Return the rank of one unit by its place in the flattened array: 1 for the highest score, equal ones in unit
    order.
    """
    flat = scores.reshape(-1)
    return 1 + int((flat > flat[place]).sum()) + int((flat[:place] == flat[place]).sum())


def top_places(scores: Array, share: float) -> Places:
    """Return the places, in the flattened array, of the `share` of units with the highest scores, at least one.

    Highest first, equal ones in unit order.
    """
    flat = scores.reshape(-1)
    k = max(1, round(share * int(np.isfinite(flat).sum())))
    order: Places = np.argsort(-flat, kind="stable")[:k]  # NaN comes last
    return order


def shares(scores: Array) -> Array:
    """Return scores as shares of the sum of magnitudes, so that maps of different quantities can be compared."""
    total = float(np.nansum(np.abs(scores)))
    return scores / total if total else np.zeros_like(scores) * scores


def _names(importance_map: ImportanceMap) -> str:
    return ", ".join(f"{kind.value}s" for kind in importance_map.scores)
