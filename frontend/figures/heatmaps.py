"""The Plotly figure of a map: one heatmap for each kind of unit. Pure; no Dash, no requests."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from frontend.display import PLAIN, Display
from frontend.figures.figure_defaults import BASE, SEE_THROUGH
from frontend.figures.panels import Colours, Panel, Scores, colours, pooled_panel, rows_panel
from frontend.figures.planes import Array
from modelshapley.contracts import Layout
from modelshapley.formatting import PLURALS
from modelshapley.units import UnitKind

MARGINS = 118  # pixels above and below the rows of a map
PANELS = (UnitKind.LAYER, UnitKind.ROW, UnitKind.HEAD, UnitKind.EXPERT, UnitKind.NEURON)
# A sequential scale for importance, from the page's background to the strongest colour, and a diverging one, centred at
# 0, only where the sign matters. One of each per theme, since the background differs.
SEQUENTIAL = {
    "light": ["#f4f6fb", "#cfdcf3", "#93b5e6", "#4f86cf", "#2558a5", "#0d2c66"],
    "dark": ["#20242c", "#25415f", "#2b6c97", "#3f9cbf", "#7fcbd3", "#e6f7d9"],
}
DIVERGING = {
    "light": ["#8c3b06", "#d98b4a", "#f1ddcc", "#f7f7f7", "#cfdcf3", "#4f86cf", "#0d2c66"],
    "dark": ["#ffb27a", "#b5622a", "#553220", "#20242c", "#25415f", "#3f9cbf", "#d6f3f7"],
}


def map_figure(
    maps: Mapping[UnitKind, Scores],
    layout_of_model: Layout | None = None,
    display: Display = PLAIN,
    row: int | None = None,
) -> dict[str, Any]:
    """Draw a panel for each kind of unit, side by side; rows are layers, the first on top.

    A panel has two traces: the heatmap, and one that makes it selectable. A heatmap's numbers are packed
    (:func:`packed`) and unpacked by assets/figure.js. assets/marks.js draws the marks of switched-off units over it,
    for which `layout.meta` describes the panels. row: the height of a layer in pixels, by default :func:`row_height`.
    """
    projections = (layout_of_model or Layout()).projections
    panels = [
        rows_panel(maps[kind], projections, display)
        if kind is UnitKind.ROW
        else pooled_panel(maps[kind], display=display)
        for kind in PANELS
        if kind in maps
    ]
    layers = panels[0].scores.shape[0]
    row = row or row_height(layers)
    signed = next(iter(maps.values())).signed
    domains = _domains(panels)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "height": row * layers + MARGINS,
        "margin": {"l": 46, "r": 26, "t": 34, "b": 84},
        **BASE,
        "dragmode": "select",
        "selectdirection": "d",
        "clickmode": "event",
        "hoverlabel": {"align": "left"},
        "uirevision": "same",
        "annotations": [],
        "modebar": {"bgcolor": SEE_THROUGH, "color": "#8b95a5", "activecolor": "#3b82d6"},
        "meta": {
            "panels": [],
            "scales": DIVERGING if signed and display.colour != "percentile" else SEQUENTIAL,
        },
    }
    for number, (panel, domain) in enumerate(zip(panels, domains, strict=True), start=1):
        suffix = "" if number == 1 else str(number)
        painted = colours(panel, signed)
        traces += [_heatmap(panel, painted, suffix, number), _selectable(suffix)]
        layout[f"xaxis{suffix}"] = _x_axis(panel, domain, suffix)
        layout[f"yaxis{suffix}"] = _y_axis(layers, row, suffix)
        layout[f"coloraxis{suffix}"] = _colour_axis(painted, domain, row * layers)
        layout["annotations"].append(_title(panel, domain))
        layout["meta"]["panels"].append(_meta(panel, suffix, layers))
    return {"data": traces, "layout": layout}


def static(figure: dict[str, Any]) -> dict[str, Any]:
    """Remove from a figure what lets a user select units."""
    figure["layout"] |= {"dragmode": False, "meta": {"scales": figure["layout"]["meta"]["scales"]}}
    return figure


def row_height(layers: int) -> int:
    """Return the height of a layer's row, in pixels."""
    return min(48, max(15, 560 // layers))


def height(layers: int) -> int:
    """Return the height of a map, in pixels."""
    return row_height(layers) * layers + MARGINS


def limits(data: Scores, display: Display) -> tuple[float, float]:
    """Return the ends of a panel's colour bar."""
    painted = colours(pooled_panel(data, display=display), data.signed)
    return painted.low, painted.high


def window_of(data: Scores, window: tuple[int, int], display: Display, within: tuple[float, float]) -> dict[str, Any]:
    """Return the cells of a part of a panel, at the resolution that it then has, and their edges.

    within: the whole panel's :func:`limits`, so that colours keep their meaning.
    """
    panel = pooled_panel(data, display=display, window=window)
    z = colours(panel, data.signed).z
    if z is not panel.scores:
        z = np.clip(z, *within)
    return {"kind": panel.kind.value, "cells": _cells(panel, z), "edges": panel.edges}


def _meta(panel: Panel, suffix: str, layers: int) -> dict[str, Any]:
    return {
        "kind": panel.kind.value,
        "title": _title_text(panel),
        "axis": f"x{suffix}",
        "edges": panel.edges,
        "layers": layers,
        "width": panel.width,
        "zoomable": panel.zoomable,
        "counts": panel.counts,
        "order": None if panel.order is None else packed(panel.order, "u2" if panel.width < 2**16 else "u4"),
        "spans": panel.spans,
    }


def _domains(panels: list[Panel]) -> list[tuple[float, float]]:
    """Divide the width among panels: a strip for layers, nearly square cells for heads, the rest for neurons."""
    weights = [
        {UnitKind.LAYER: 0.09, UnitKind.NEURON: 0.55}.get(
            panel.kind, min(0.45, max(0.2, (len(panel.edges) - 1) * 0.026))
        )
        for panel in panels
    ]
    gap = 0.055
    scale = (1 - gap * (len(panels) - 1)) / sum(weights)
    domains, left = [], 0.0
    for weight in weights:
        domains.append((left, left + weight * scale))
        left += weight * scale + gap
    return domains


def _heatmap(panel: Panel, painted: Colours, suffix: str, number: int) -> dict[str, Any]:
    few = len(panel.edges) < 100
    # With gaps between cells Plotly draws them one by one, which takes seconds for many.
    lines = panel.scores.size < 20_000
    return {
        "type": "heatmap",
        **_cells(panel, painted.z),
        "hovertemplate": _hover(panel),
        "coloraxis": f"coloraxis{suffix}",
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "xgap": 1 if few else 0,
        "ygap": 1 if lines else 0,
        "name": f"panel {number}",
    }


def _cells(panel: Panel, z: Array) -> dict[str, Any]:
    """Return the cells' positions, colours and hover data: unit, rank, score (None: the same as z), error."""
    step = panel.edges[1] - panel.edges[0]
    cells: dict[str, Any] = {
        "z": packed(z, "f4"),
        "x0": panel.edges[0] + (step - 1) / 2,
        "dx": step,
        "hover": [
            packed(panel.best, "u4"),
            packed(panel.rank, "u4"),
            None if z is panel.scores else packed(panel.scores, "f4"),
            packed(panel.errors, "f4", bits=7),
        ],
    }
    return cells if panel.names is None else cells | {"names": panel.names}


def _hover(panel: Panel) -> str:
    """Return the hover template. customdata: unit, rank, score, error; of linear maps a name instead of the rank."""
    values = {"share": "<br>%{z:.3g} % of the total", "percentile": "<br>percentile %{z:.1f}"}
    value = "" if panel.display.log else values.get(panel.display.colour, "")
    if panel.names is not None:
        return (
            "<b>%{customdata[1]} of layer %{y}</b><br>mean of %{customdata[0]:,} rows %{customdata[2]:.3g} ± "
            f"%{{customdata[3]:.2g}} at most{value}<extra></extra>"
        )
    name = f"{panel.kind.value} %{{y}}" + ("" if panel.kind is UnitKind.LAYER else ".%{customdata[0]}")
    pooled = "<br><i>the highest of several units in this cell</i>" if panel.pooled else ""
    return (
        f"<b>{name}</b><br>score %{{customdata[2]:.3g}} ± %{{customdata[3]:.2g}}<br>"
        f"rank %{{customdata[1]:,}} of {panel.units:,}{value}{pooled}<extra></extra>"
    )


def packed(values: npt.NDArray[Any], kind: str, bits: int = 13) -> dict[str, str]:
    """Pack a (rows, columns) array for assets/figure.js: its bytes in base64, type and shape.

    Floats keep `bits` bits after the first: four significant digits at 13. All first bytes come first, then all second
    ones, and so on, since similar bytes next to each other compress well.
    """
    array = np.ascontiguousarray(values, dtype=f"<{kind}")
    if kind == "f4":
        keep = np.uint32(0xFFFFFFFF << (23 - bits) & 0xFFFFFFFF)
        half = np.uint32(1 << (22 - bits))
        rounded = (array.view(np.uint32) + half) & keep
        array = np.where(np.isfinite(array), rounded.view(np.float32), array)
    planes = array.view(np.uint8).reshape(-1, array.itemsize).T
    return {"type": kind, "data": base64.b64encode(planes.tobytes()).decode(), "columns": str(array.shape[1])}


def _selectable(suffix: str) -> dict[str, Any]:
    """An empty scatter trace, without which Plotly (4.1) offers no box selection."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "hoverinfo": "skip",
    }


def _x_axis(panel: Panel, domain: tuple[float, float], suffix: str) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "domain": list(domain),
        "anchor": f"y{suffix}",
        "range": [-0.5, panel.width - 0.5],
        "minallowed": -0.5,
        "maxallowed": panel.width - 0.5,
        "fixedrange": not panel.zoomable,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }
    if panel.zoomable:  # Plotly chooses ticks that follow the zoom
        return axis | {"nticks": 7, "tickformat": ",d"}
    step = 1 if panel.names else max(1, -(-panel.width // 8))
    positions = [] if panel.kind is UnitKind.LAYER else list(range(0, panel.width, step))
    texts = [panel.names[p] if panel.names else str(p) for p in positions]
    return axis | {"tickvals": positions, "ticktext": texts}


def _y_axis(layers: int, row: int, suffix: str) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "anchor": f"x{suffix}",
        "range": [layers - 0.5, -0.5],
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "showticklabels": suffix == "",
        "dtick": 1 if row >= 17 else 5,
        "tick0": 0,
    }
    if suffix == "":
        return axis | {"title": {"text": "layer", "standoff": 4}}
    return axis | {"matches": "y"}


def _colour_axis(painted: Colours, domain: tuple[float, float], height: int) -> dict[str, Any]:
    return {
        "cmin": painted.low,
        "cmax": painted.high,
        "colorbar": {
            "orientation": "h",
            "x": (domain[0] + domain[1]) / 2,
            "xanchor": "center",
            "y": -36 / height,
            "yanchor": "top",
            "len": domain[1] - domain[0],
            "thickness": 9,
            "xpad": 3,  # 10 leave next to nothing of a narrow panel's bar
            "outlinewidth": 0,
            "tickvals": [place for place, _ in painted.ticks],
            "ticktext": [text for _, text in painted.ticks],
            "ticklabelposition": "outside bottom",
        },
    }


def _title_text(panel: Panel) -> str:
    title = PLURALS[panel.kind].capitalize()
    if panel.names is not None:
        title += f"  (means of {panel.units:,})"
    elif panel.counts is not None:
        title += f"  (up to {max(panel.counts):,} per layer)"
    elif panel.kind is not UnitKind.LAYER:
        title += f"  ({panel.width:,} per layer)"
    return title


def _title(panel: Panel, domain: tuple[float, float]) -> dict[str, Any]:
    return {
        "text": f"<b>{_title_text(panel)}</b>",
        "x": domain[0],
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 8,
        "showarrow": False,
    }
