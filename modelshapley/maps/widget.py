"""An importance map as a widget of notebooks: units selected on its heatmaps come back as a Deactivation.

Needs the extra `notebook`. Its script lies in the package, so that it works without a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from modelshapley.units import Deactivation, UnitKind

if TYPE_CHECKING:
    from modelshapley.maps.importance import ImportanceMap

COLUMNS = 192
"""The most cells in a row; a cell of a wider map stands for several units."""


class MapWidget(anywidget.AnyWidget):
    """Heatmaps of a map's kinds of unit, one at a time; a click, a box or the keyboard selects cells.

    selected: {kind: [[layer, column], ...]}, the selected cells, which the page and Python share.
    selection: their units as a Deactivation.
    """

    _esm = Path(__file__).parents[1] / "assets" / "map-widget.js"
    title = traitlets.Unicode().tag(sync=True)
    maps = traitlets.Dict().tag(sync=True)
    kind = traitlets.Unicode().tag(sync=True)
    selected = traitlets.Dict().tag(sync=True)

    def __init__(self, importance_map: ImportanceMap, kind: UnitKind | None = None) -> None:
        maps = {kind.value: _cells(importance_map, kind) for kind in importance_map.scores}
        first = next(iter(importance_map.scores)) if kind is None else kind
        self._map = importance_map
        super().__init__(title=_title(importance_map), maps=maps, kind=first.value, selected={})

    def __repr__(self) -> str:
        return f"MapWidget({self._map.method}, {self.selection.describe()} selected)"

    @property
    def selection(self) -> Deactivation:
        """The units of the selected cells, to be switched off."""
        masks = {UnitKind(kind): self._mask(UnitKind(kind), cells) for kind, cells in self.selected.items()}
        return Deactivation.from_masks(masks)

    def select(self, units: Deactivation) -> None:
        """Select the cells that hold these units. Raises UnknownName for a kind that the map has none of."""
        selected = {}
        for kind, chosen in units.units:
            self._map.check_kind(kind)
            edges = np.array(self.maps[kind.value]["edges"])
            places = [(unit[0], unit[1] if len(unit) > 1 else 0) for unit in chosen]
            cells = {(layer, int(np.searchsorted(edges, place, "right")) - 1) for layer, place in places}
            selected[kind.value] = [list(cell) for cell in sorted(cells)]
        self.selected = selected

    @traitlets.validate("kind")
    def _known_kind(self, proposal: Mapping[str, Any]) -> str:
        if proposal["value"] not in self.maps:
            raise traitlets.TraitError(f"This map has {', '.join(self.maps)}, not {proposal['value']!r}.")
        return str(proposal["value"])

    @traitlets.validate("selected")
    def _known_cells(self, proposal: Mapping[str, Any]) -> dict[str, list[list[int]]]:
        """Refuse cells outside the map, so that a selection always names units."""
        for kind, cells in proposal["value"].items():
            rows = self.maps[kind]["scores"] if kind in self.maps else []
            for cell in cells:
                if not _is_cell(cell, rows):
                    raise traitlets.TraitError(f"The map of {kind}s has no cell {cell!r}.")
        return dict(proposal["value"])

    def _mask(self, kind: UnitKind, cells: Sequence[Sequence[int]]) -> np.ndarray:
        scores, _ = self._map.table(kind)
        mask, edges = np.zeros(scores.shape, dtype=bool), self.maps[kind.value]["edges"]
        for layer, column in cells:
            mask[layer, edges[column] : edges[column + 1]] = True
        return (mask & np.isfinite(scores)).reshape(self._map.scores[kind].shape)


def _cells(importance_map: ImportanceMap, kind: UnitKind) -> dict[str, Any]:
    """Return scores and errors of each cell, None where it has no unit, and the columns' edges in units."""
    scores, errors, edges = importance_map.pooled(kind, COLUMNS)
    return {"scores": _numbers(scores), "errors": _numbers(errors), "edges": edges}


def _numbers(table: np.ndarray) -> list[list[float | None]]:
    """Return rows with 4 significant digits; JSON has no NaN."""
    return [[float(f"{value:.4g}") if np.isfinite(value) else None for value in row] for row in table]


def _title(importance_map: ImportanceMap) -> str:
    provenance = importance_map.provenance
    n = f", n {provenance['n']}" if "n" in provenance else ""
    return f"{importance_map.method}: {importance_map.quantity}{n}"


def _is_cell(cell: Any, rows: Sequence[Sequence[Any]]) -> bool:
    if not isinstance(cell, list | tuple) or len(cell) != 2 or any(type(place) is not int for place in cell):
        return False
    layer, column = cell
    return bool(0 <= layer < len(rows) and 0 <= column < len(rows[layer]))
