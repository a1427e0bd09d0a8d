"""Pictures of maps: data in, Plotly figures out. Pure; no Dash, no requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from frontend.words import PLURALS
from modelshapley.contracts import Layout, MapData
from modelshapley.importance import by_projection, spans_of
from modelshapley.units import UnitKind

Array = npt.NDArray[np.float64]
NEURON_COLUMNS = 600
PANELS = (UnitKind.LAYER, UnitKind.ROW, UnitKind.HEAD, UnitKind.EXPERT, UnitKind.NEURON)
# One sequential scale for 'how important', from the page's background to the strongest ink, and one
# diverging scale, centred at 0, only where the sign matters. Per theme, since the background differs.
SEQUENTIAL = {
    "light": ["#f4f6fb", "#cfdcf3", "#93b5e6", "#4f86cf", "#2558a5", "#0d2c66"],
    "dark": ["#20242c", "#25415f", "#2b6c97", "#3f9cbf", "#7fcbd3", "#e6f7d9"],
}
DIVERGING = {
    "light": ["#8c3b06", "#d98b4a", "#f1ddcc", "#f7f7f7", "#cfdcf3", "#4f86cf", "#0d2c66"],
    "dark": ["#ffb27a", "#b5622a", "#553220", "#20242c", "#25415f", "#3f9cbf", "#d6f3f7"],
}


@dataclass(frozen=True)
class Panel:
    """One kind of unit, ready to draw. All arrays are (layers, columns) but `edges` (columns + 1); NaN: no unit.

    best: index within its layer of the unit that a column shows, of rows how many a cell stands for;
    rank: 1 is the highest score of the kind.
    units: how many there are. counts: units of each layer, where they differ.
    names, spans: of rows, which are drawn as the mean of each linear map: the maps' names, and for each layer the
    (start, stop) of each map's rows.
    """

    kind: UnitKind
    scores: Array
    errors: Array
    best: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int64]
    edges: list[int]
    units: int
    counts: list[int] | None = None
    names: list[str] | None = None
    spans: list[list[tuple[int, int]]] | None = None


def panel(data: MapData, columns: int = NEURON_COLUMNS) -> Panel:
    """Pool a full-resolution map to at most `columns` equal columns, each with its unit of largest magnitude."""
    scores, errors = np.array(data.scores, dtype=float), np.array(data.standard_errors, dtype=float)
    width = scores.shape[1]
    step = -(-width // columns)
    edges = [*range(0, width, step), width]
    sizes = np.nan_to_num(np.abs(scores), nan=-1)
    best = np.stack([a + sizes[:, a:b].argmax(1) for a, b in pairwise(edges)], axis=1)
    rank = ranks(scores)
    shown = [np.take_along_axis(array, best, 1) for array in (scores, errors, rank)]
    there = np.isfinite(scores).sum(1).tolist()
    counts = there if len(set(there)) > 1 else None
    return Panel(data.unit, shown[0], shown[1], best, shown[2], edges, sum(there), counts)


def rows_panel(data: MapData, projections: Sequence[Mapping[str, int]]) -> Panel:
    """Rows as the mean of each linear map they belong to, (layers, maps) (paper, Figure 1).

    The error shown is the mean of the rows' own, an upper bound of that of the mean.
    """
    found = spans_of(projections)
    scores, errors = np.array(data.scores, dtype=float), np.array(data.standard_errors, dtype=float)
    means, bounds, names = by_projection(scores, errors, found)
    spans = [[maps.get(name, (0, 0)) for name in names] for maps in found]
    sizes = np.array([[stop - start for start, stop in row] for row in spans])
    edges = list(range(len(names) + 1))
    return Panel(data.unit, means, bounds, sizes, ranks(means), edges, int(sizes.sum()), names=names, spans=spans)


def ranks(scores: Array) -> npt.NDArray[np.int64]:
    """1 for the highest score; equal scores in unit order."""
    order = np.argsort(-scores.reshape(-1), kind="stable")
    result = np.empty(scores.size, dtype=np.int64)
    result[order] = np.arange(1, scores.size + 1)
    return result.reshape(scores.shape)


def colour_range(scores: Array, signed: bool) -> tuple[float, float, bool]:
    """(low, high, clipped): from 0 up, or symmetric around 0 on a signed map.

    One outlier would leave every other cell pale, so a top far above the 99th percentile is clipped to it.
    """
    sizes = np.abs(scores[np.isfinite(scores)])
    top, common = float(sizes.max()), float(np.quantile(sizes, 0.99))
    clipped = scores.size > 300 and top > 3 * common > 0
    high = (common if clipped else top) or 1.0
    return (-high if signed else 0.0), high, clipped


def map_figure(maps: Mapping[UnitKind, MapData], layout_of_model: Layout | None = None) -> dict[str, Any]:
    """One panel for each kind of unit, side by side; rows are layers, the first on top.

    Two traces a panel: the heatmap, and one that makes it selectable. What is off is drawn over it by the
    page's script (assets/marks.js), to which `layout.meta` tells what each panel holds.
    """
    projections = (layout_of_model or Layout()).projections
    panels = [
        rows_panel(maps[kind], projections) if kind is UnitKind.ROW else panel(maps[kind])
        for kind in PANELS
        if kind in maps
    ]
    layers = panels[0].scores.shape[0]
    row = min(48, max(15, 560 // layers))
    signed = next(iter(maps.values())).signed
    domains = _domains(panels)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "height": row * layers + 118,
        "margin": {"l": 46, "r": 26, "t": 34, "b": 84},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12},
        "dragmode": "select",
        "selectdirection": "d",
        "clickmode": "event",
        "showlegend": False,
        "hoverlabel": {"align": "left"},
        "uirevision": "same",
        "annotations": [],
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8b95a5", "activecolor": "#3b82d6"},
        "meta": {"panels": [], "scales": DIVERGING if signed else SEQUENTIAL},
    }
    for number, (shown, domain) in enumerate(zip(panels, domains, strict=True), start=1):
        suffix = "" if number == 1 else str(number)
        low, high, clipped = colour_range(shown.scores, signed)
        traces += [_heatmap(shown, suffix, number), _selectable(suffix)]
        layout[f"xaxis{suffix}"] = _x_axis(shown, domain, suffix)
        layout[f"yaxis{suffix}"] = _y_axis(layers, row, suffix)
        layout[f"coloraxis{suffix}"] = _colour_axis(low, high, clipped, domain, row * layers)
        layout["annotations"].append(_title(shown, domain))
        layout["meta"]["panels"].append(
            {
                "kind": shown.kind.value,
                "axis": f"x{suffix}",
                "edges": shown.edges,
                "layers": layers,
                "counts": shown.counts,
                "spans": shown.spans,
            }
        )
    return {"data": traces, "layout": layout}


def _domains(panels: list[Panel]) -> list[tuple[float, float]]:
    """Widths by what there is to show: a layer strip is narrow, heads want square-ish cells, neurons the rest."""
    wants = [
        {UnitKind.LAYER: 0.09, UnitKind.NEURON: 0.55}.get(
            shown.kind, min(0.45, max(0.2, (len(shown.edges) - 1) * 0.026))
        )
        for shown in panels
    ]
    gap = 0.055
    scale = (1 - gap * (len(panels) - 1)) / sum(wants)
    domains, left = [], 0.0
    for want in wants:
        domains.append((left, left + want * scale))
        left += want * scale + gap
    return domains


def _heatmap(shown: Panel, suffix: str, number: int) -> dict[str, Any]:
    if shown.names is not None:
        return _of_maps(shown, suffix, number)
    what = f"{shown.kind.value} %{{y}}" + ("" if shown.kind is UnitKind.LAYER else ".%{customdata[0]}")
    wide = len(shown.edges) - 1 < shown.edges[-1]
    of_several = "<br><i>the strongest of the units drawn here</i>" if wide else ""
    return {
        "type": "heatmap",
        "z": _short(shown.scores),
        "customdata": np.stack([shown.best, shown.rank, _rounded(shown.errors)], axis=-1).tolist(),
        "hovertemplate": (
            f"<b>{what}</b><br>score %{{z:.3g}} ± %{{customdata[2]:.2g}}<br>"
            f"rank %{{customdata[1]:,}} of {shown.units:,}{of_several}<extra></extra>"
        ),
        "coloraxis": f"coloraxis{suffix}",
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "xgap": 1 if len(shown.edges) < 100 else 0,
        "ygap": 1,
        "name": f"panel {number}",
    }


def _of_maps(shown: Panel, suffix: str, number: int) -> dict[str, Any]:
    """Rows, drawn as the mean of each linear map."""
    names = np.broadcast_to(np.array(shown.names, dtype=object), shown.scores.shape)
    return {
        "type": "heatmap",
        "z": _short(shown.scores),
        "customdata": np.stack([names, shown.best, _rounded(shown.errors)], axis=-1).tolist(),
        "hovertemplate": (
            "<b>%{customdata[0]} of layer %{y}</b><br>mean of %{customdata[1]:,} rows %{z:.3g} ± "
            "%{customdata[2]:.2g} at most<extra></extra>"
        ),
        "coloraxis": f"coloraxis{suffix}",
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "xgap": 1,
        "ygap": 1,
        "name": f"panel {number}",
    }


def _selectable(suffix: str) -> dict[str, Any]:
    """Plotly offers a box selection only where there is a scatter; this one shows nothing."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "hoverinfo": "skip",
    }


def _x_axis(shown: Panel, domain: tuple[float, float], suffix: str) -> dict[str, Any]:
    columns = len(shown.edges) - 1
    step = 1 if shown.names else max(1, -(-columns // 8))
    positions = [] if shown.kind is UnitKind.LAYER else list(range(0, columns, step))
    return {
        "domain": list(domain),
        "anchor": f"y{suffix}",
        "range": [-0.5, columns - 0.5],
        "tickvals": positions,
        "ticktext": [str((shown.names or shown.edges)[p]) for p in positions],
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }


def _y_axis(layers: int, row: int, suffix: str) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "anchor": f"x{suffix}",
        "range": [layers - 0.5, -0.5],
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


def _colour_axis(
    low: float, high: float, clipped: bool, domain: tuple[float, float], height: int
) -> dict[str, Any]:
    ticks = [low, 0.0, high] if low < 0 else [0.0, high]
    texts = [f"{t:.3g}".replace("-", "\u2212") for t in ticks]
    if clipped:
        texts[-1] = f"≥ {texts[-1]}"
    return {
        "cmin": low,
        "cmax": high,
        "colorbar": {
            "orientation": "h",
            "x": (domain[0] + domain[1]) / 2,
            "xanchor": "center",
            "y": -36 / height,
            "yanchor": "top",
            "len": domain[1] - domain[0],
            "thickness": 9,
            "outlinewidth": 0,
            "tickvals": ticks,
            "ticktext": texts,
            "ticklabelposition": "outside bottom",
        },
    }


def _title(shown: Panel, domain: tuple[float, float]) -> dict[str, Any]:
    words = PLURALS[shown.kind].capitalize()
    if shown.names is not None:
        words += f"  (means of {shown.units:,})"
    elif shown.counts is not None:
        words += f"  (up to {max(shown.counts):,} a layer)"
    elif shown.kind is not UnitKind.LAYER:
        words += f"  ({shown.edges[-1]:,} a layer)"
    return {
        "text": f"<b>{words}</b>",
        "x": domain[0],
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 8,
        "showarrow": False,
    }


def _rounded(values: Array) -> Array:
    """To four significant digits: what a screen can show, at half the bytes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (3 - np.floor(np.log10(np.abs(values))))
        rounded: Array = np.where(np.isfinite(scale), np.round(values * scale) / scale, values)
    return rounded


def _short(values: Array) -> list[list[float | None]]:
    return [[float(f"{v:.4g}") if isfinite(v) else None for v in row] for row in values.tolist()]


def thumbnail(data: MapData) -> str:
    """A picture of a map, at most about 150 x 120, as an SVG data address; stronger ink is more important."""
    shown = panel(data, columns=32)
    _, high, _ = colour_range(shown.scores, data.signed)
    layers, columns = shown.scores.shape
    width, height = (max(3, min(24, room // count)) for room, count in ((150, columns), (120, layers)))
    cells = "".join(
        f'<rect x="{c * width}" y="{r * height}" width="{width - 1}" height="{height - 1}" '
        f'fill="#3b82d6" fill-opacity="{0.07 + 0.93 * min(1.0, abs(shown.scores[r, c]) / high):.2f}"/>'
        for r in range(layers)
        for c in range(columns)
        if isfinite(shown.scores[r, c])
    )
    size = f'width="{columns * width}" height="{layers * height}"'
    return "data:image/svg+xml," + quote(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{cells}</svg>')
