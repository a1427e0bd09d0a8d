"""The Plotly figures of a pair of maps: both maps, their difference, a scatter plot. Pure; no Dash, no requests."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from frontend.figures import heatmaps
from frontend.figures.figure_defaults import BASE
from frontend.figures.planes import Array, Plane
from frontend.pages.compare.pair import Side
from modelshapley.maps.compare import Places, Tops, shares
from modelshapley.units import UnitKind, unit_name

MOST_OTHERS = 1500  # points of units that are important in neither map
MOST_TOP = 500  # points of each other group
# Colour, symbol and size of the units that are important in neither map, in both, in the first or the second only.
MARKERS = (
    ("#8b95a5", "circle", 5),
    ("#12806a", "diamond", 9),
    ("#3b82d6", "triangle-up", 10),
    ("#c2500a", "triangle-down", 10),
)
TITLE_WIDTH = 46  # characters of a line of an axis title


def heatmap(side: Side, unit: UnitKind) -> dict[str, Any]:
    """Draw one map, as the map page does."""
    scores, errors = side.map.table(unit)
    return heatmaps.static(heatmaps.map_figure({unit: _plane(unit, scores, errors, side.map.signed)}, side.run.layout))


def difference(a: Side, b: Side, unit: UnitKind) -> dict[str, Any]:
    """Draw the share in a minus the share in b, in points of the total; above 0 the unit matters more in a."""
    gap, error = gaps(a, b, unit)
    figure = heatmaps.static(heatmaps.map_figure({unit: _plane(unit, gap, error, signed=True)}, a.run.layout))
    name = "%{customdata[1]} of layer %{y}" if unit is UnitKind.ROW else _name(unit)
    gap_text = "difference %{z:.3g} ± %{customdata[3]:.2g} points of the total"
    figure["data"][0]["hovertemplate"] = f"<b>{name}</b><br>{gap_text}<extra></extra>"
    return figure


def gaps(a: Side, b: Side, unit: UnitKind) -> tuple[Array, Array]:
    """Return the difference of shares in points, (layers, columns), and its standard error for independent maps."""
    parts = []
    for side in (a, b):
        scores, errors = side.map.table(unit)
        total = float(np.nansum(np.abs(scores))) or 1.0
        parts.append((100 * shares(scores), 100 * errors / total))
    return parts[0][0] - parts[1][0], np.hypot(parts[0][1], parts[1][1])


def _name(unit: UnitKind) -> str:
    return f"{unit.value} %{{y}}" + ("" if unit is UnitKind.LAYER else ".%{customdata[0]}")


def _plane(unit: UnitKind, scores: Array, errors: Array, signed: bool) -> Plane:
    return Plane("", "", unit, list(scores.shape), scores, errors, "", signed, {})


def sample(places: Places, most: int) -> Places:
    """Return a random sample of places, the same at every call."""
    return places if len(places) <= most else np.random.default_rng(0).choice(places, most, replace=False)


def scatter(a: Side, b: Side, unit: UnitKind, tops: Tops) -> dict[str, Any]:
    """Draw each unit by its share of the total in a (x) and in b (y), percent, with the line of equal shares."""
    one, other = a.map.scores[unit], b.map.scores[unit]
    x, y = (100 * shares(scores).reshape(-1) for scores in (one, other))
    groups = [
        ("neither", tops.neither),
        ("both", tops.both),
        (f"{as_text(a.name)} only", tops.only_first),
        (f"{as_text(b.name)} only", tops.only_second),
    ]
    traces = []
    for (name, part), (colour, symbol, size) in zip(groups, MARKERS, strict=True):
        places = sample(part, MOST_OTHERS) if name == "neither" else part[:MOST_TOP]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{name} ({len(part):,})",
                "x": _rounded(x[places]),
                "y": _rounded(y[places]),
                "text": names(places, one.shape, unit),
                "marker": {"color": colour, "symbol": symbol, "size": size, "opacity": 0.8},
                "hovertemplate": "<b>%{text}</b><br>across %{x:.3g} %, up %{y:.3g} %<extra></extra>",
            }
        )
    ends = [float(np.nanmin([np.nanmin(x), np.nanmin(y), 0])), float(np.nanmax([np.nanmax(x), np.nanmax(y)]))]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": ends,
        "line": {"color": "#8b95a5", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return {"data": [line, *traces], "layout": _layout(a.name, b.name)}


def _layout(across: str, up: str) -> dict[str, Any]:
    return {
        "height": 560,
        "margin": {"l": 58, "r": 12, "t": 30, "b": 50},
        **BASE,
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        "xaxis": {"title": {"text": _axis_title(across), "standoff": 6}, "zeroline": False, "automargin": True},
        "yaxis": {"title": {"text": _axis_title(up), "standoff": 14}, "zeroline": False, "automargin": True},
    }


def _axis_title(name: str) -> str:
    return "<br>".join(map(as_text, textwrap.wrap(f"share in {name}, %", TITLE_WIDTH)))


def as_text(name: str) -> str:
    """Return a name as Plotly shows it literally, whatever tags it contains."""
    return escape(name, quote=False)


def places_of(flat: Places, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the indices of units from their places in the flattened array."""
    return [tuple(index) for index in np.stack(np.unravel_index(flat, shape), axis=1).tolist()]


def names(flat: Places, shape: Sequence[int], unit: UnitKind) -> list[str]:
    """Return the names of units from their places in the flattened array."""
    return [unit_name(unit, index) for index in places_of(flat, shape)]


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]
