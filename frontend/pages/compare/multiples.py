"""The Plotly figures of several maps with the same layout and colour scale. Pure; no Dash, no requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from frontend.display import Display
from frontend.figures import heatmaps
from frontend.figures.planes import Plane
from frontend.pages.compare.pair import Side
from modelshapley.units import UnitKind

SHARES = Display(colour="share")
TALLEST = 300  # pixels of a small map's rows


def figures(sides: Sequence[Side], kind: UnitKind) -> list[dict[str, Any]]:
    """Draw each map as shares of its total; all colour bars have the ends of the widest."""
    signed = any(side.map.signed for side in sides)
    planes = [_plane(side, kind, signed) for side in sides]
    layers = planes[0].scores.shape[0]
    row = max(4, min(heatmaps.row_height(layers), TALLEST // layers))
    drawn = [
        heatmaps.static(heatmaps.map_figure({kind: plane}, side.run.layout, SHARES, row))
        for plane, side in zip(planes, sides, strict=True)
    ]
    widest = max((figure["layout"]["coloraxis"] for figure in drawn), key=lambda axis: float(axis["cmax"]))
    ticktext = _ends(widest, planes)
    for figure in drawn:
        axis = figure["layout"]["coloraxis"]
        ticks = {"tickvals": widest["colorbar"]["tickvals"], "ticktext": ticktext}
        figure["layout"]["coloraxis"] = widest | {"colorbar": axis["colorbar"] | ticks}
    return drawn


def _ends(axis: Mapping[str, Any], planes: Sequence[Plane]) -> list[str]:
    """Return the texts of the colour bar; the last says so where a map has larger shares."""
    *others, last = axis["colorbar"]["ticktext"]
    largest = max(100 * float(np.nanmax(np.abs(plane.scores))) / (plane.total or 1.0) for plane in planes)
    beyond = planes[0].unit is not UnitKind.ROW and largest > axis["cmax"] and not last.startswith("≥")
    return [*others, f"≥ {last}" if beyond else last]


def _plane(side: Side, kind: UnitKind, signed: bool) -> Plane:
    """The map with the sign that all share: a diverging scale as soon as one map has negative scores."""
    scores, errors = side.map.table(kind)
    return Plane(side.run.id, side.map.method, kind, list(scores.shape), scores, errors, "", signed, {})
