"""Rank correlations between several maps, each with each. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from modelshapley.errors import ModelShapleyError
from modelshapley.maps.compare import rank_correlation
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

Array = npt.NDArray[np.float64]
MOST_MAPS = 8
"""The most maps of one comparison: 28 pairs, which a screen can still show."""


@dataclass(frozen=True)
class RankMatrix:
    """Spearman's correlation of each map with each, for one kind of unit.

    names: of the maps that have the same shape. rho: (names, names), None where a map is constant.
    refused: why each of the other maps is left out, {name: reason}.
    """

    kind: UnitKind
    names: list[str]
    rho: list[list[float | None]]
    refused: dict[str, str]


def rank_matrix(maps: Mapping[str, ImportanceMap | None], kind: UnitKind) -> RankMatrix:
    """Correlate the rankings of maps with the same number of layers and units.

    maps: {name: map}, None where it was not scored for this kind. The shape that most maps have is compared, in a tie
    the first one's.
    """
    scores = {name: given.scores[kind] for name, given in maps.items() if given is not None and kind in given.scores}
    shapes = Counter(array.shape for array in scores.values())
    shape = max(shapes, key=lambda known: shapes[known]) if shapes else ()
    names = [name for name, array in scores.items() if array.shape == shape]
    refused = {}
    for name in maps:
        if name not in scores:
            refused[name] = f"it has no scores of {kind.value}s"
        elif name not in names:
            refused[name] = f"its {kind.value}s are {_size(scores[name].shape)} (layers x units), not {_size(shape)}"
    return RankMatrix(kind, names, rank_correlations([scores[name] for name in names]), refused)


def check_tasks(maps: Mapping[str, ImportanceMap]) -> None:
    """Raise ModelShapleyError if the maps, {name: map}, are of tasks with different fingerprints."""
    prints = {name: given.provenance.get("task_fingerprint") for name, given in maps.items()}
    first, wanted = next(iter(prints.items()))
    other = next((name for name, found in prints.items() if found != wanted), None)
    if other is not None:
        raise ModelShapleyError(
            f"{first} and {other} are of different tasks, or of other examples, prompts or seeds, so their scores "
            "measure different things. Compare them anyway with --anyway."
        )


def rank_correlations(scores: Sequence[Array]) -> list[list[float | None]]:
    """Return Spearman's correlation of each array with each, as :func:`compare.rank_correlation` has it.

    Arrays with units at the same places are ranked once, instead of once for each pair.
    """
    flat = [array.reshape(-1) for array in scores]
    units = [np.isfinite(array) for array in flat]
    if not all(np.array_equal(mask, units[0]) for mask in units):
        return [[rank_correlation(one, other) for other in flat] for one in flat]
    normal = [_normal_ranks(array[mask]) for array, mask in zip(flat, units, strict=True)]
    count = len(normal)
    rho: list[list[float | None]] = [[None] * count for _ in range(count)]
    for row, one in enumerate(normal):
        for column, other in enumerate(normal[: row + 1]):
            if one is not None and other is not None:
                value = 1.0 if row == column else float(np.clip(one @ other, -1.0, 1.0))
                rho[row][column] = rho[column][row] = value
    return rho


def _normal_ranks(scores: Array) -> Array | None:
    """Return ranks with mean 0 and length 1; None for fewer than 3 units, or if all are equal."""
    if scores.size < 3 or np.ptp(scores) == 0:
        return None
    ranks: Array = rankdata(scores)
    ranks -= ranks.mean()
    normal: Array = ranks / np.linalg.norm(ranks)
    return normal


def _size(shape: Sequence[int]) -> str:
    return " x ".join(f"{length:,}" for length in shape)
