"""An importance map as a piece of HTML without scripts, which notebooks show in place of its repr."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modelshapley.units import UnitKind

if TYPE_CHECKING:
    from modelshapley.maps.importance import ImportanceMap

COLUMNS, CELL_WIDTHS, CELL_HEIGHT = 96, (4, 18), 12  # at most so many columns; pixels
LISTED = 5
HELPS, HURTS = "#1f5fae", "#b4531a"
Array = npt.NDArray[np.float64]


def to_html(importance_map: ImportanceMap) -> str:
    """Return a heading, and for each kind of unit a heatmap (rows: layers) and its most important units."""
    provenance = importance_map.provenance
    facts = [
        str(provenance[name]) if name in ("model", "task") else f"{name} {provenance[name]}"
        for name in ("model", "task", "n", "seed")
        if name in provenance
    ]
    heading = f"<b>{escape(importance_map.method)}</b>: {escape(importance_map.quantity)}"
    kinds = "".join(_kind(importance_map, kind) for kind in importance_map.scores)
    return f'<div style="font-family:system-ui,sans-serif">{heading}<br/>{escape(" · ".join(facts))}{kinds}</div>'


def _kind(importance_map: ImportanceMap, kind: UnitKind) -> str:
    scores, _, edges = importance_map.pooled(kind, COLUMNS)
    table, errors = importance_map.table(kind)
    pooled = "" if len(edges) - 1 == table.shape[1] else f", largest of {-(-table.shape[1] // COLUMNS)} a cell"
    title = f"{kind.value}s: {np.isfinite(table).sum():,} in {len(table)} layers{pooled}"
    return f"<p>{title}</p>{_heatmap(scores)}{_ranking(kind, table, errors)}"


def _heatmap(scores: Array) -> str:
    layers, columns = scores.shape
    narrow, wide = CELL_WIDTHS
    width = max(narrow, min(wide, 600 // columns))
    largest = float(np.nanmax(np.abs(scores))) or 1.0
    cells = "".join(
        f'<rect x="{column * width}" y="{row * CELL_HEIGHT}" width="{width}" height="{CELL_HEIGHT - 1}" '
        f'fill="{HURTS if scores[row, column] < 0 else HELPS}" fill-opacity="{abs(scores[row, column]) / largest:.3f}">'
        f"<title>{scores[row, column]:.3g}</title></rect>"
        for row in range(layers)
        for column in range(columns)
        if np.isfinite(scores[row, column])
    )
    size = f'width="{columns * width}" height="{layers * CELL_HEIGHT}"'
    return f'<svg {size} role="img" aria-label="Importance by layer (rows)" style="background:#8882">{cells}</svg>'


def _ranking(kind: UnitKind, scores: Array, errors: Array) -> str:
    """List the units of the highest scores with their standard errors."""
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), axis=None, kind="stable")[:LISTED]
    entries = []
    for row, column in zip(*np.unravel_index(order, scores.shape), strict=True):
        if np.isfinite(scores[row, column]):
            name = f"{row}" if kind is UnitKind.LAYER else f"{row}.{column}"
            entries.append(f"{name} ({scores[row, column]:.3g} ± {errors[row, column]:.2g})")
    return f"<p>Most important: {', '.join(entries)}</p>"
