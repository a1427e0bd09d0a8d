"""A cache of rank correlations: ranking eight maps of millions of units takes seconds, and maps never change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from frontend.pages.compare.address import Choice
from modelshapley.maps.importance import ImportanceMap
from modelshapley.maps.rank_matrix import RankMatrix, rank_matrix
from modelshapley.units import UnitKind

CAPACITY = 64


class MatrixCache:
    """The matrices computed last."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[UnitKind, tuple[tuple[str, Choice], ...]], RankMatrix] = OrderedDict()

    def get(
        self, names: Sequence[str], choices: Sequence[Choice], maps: Sequence[ImportanceMap | None], kind: UnitKind
    ) -> RankMatrix:
        """Return the correlations of maps with these names, which their choices identify."""
        key = (kind, tuple(zip(names, choices, strict=True)))
        matrix = self._entries.get(key) or rank_matrix(dict(zip(names, maps, strict=True)), kind)
        self._entries[key] = matrix
        self._entries.move_to_end(key)
        while len(self._entries) > CAPACITY:
            self._entries.popitem(last=False)
        return matrix
