"""Charts of how many units matter: the distribution of scores, and each layer's units above a threshold. Pure.

Paper, Figure 2: neurons above a threshold in each layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from frontend.figures.figure_defaults import BASE
from frontend.figures.planes import Plane
from modelshapley import formatting

BINS = 60
INK, REST, LINE = "#3b82d6", "#a9b7cc", "#e8347f"


def suggested(plane: Plane) -> float:
    """Return a threshold that the highest tenth of the units reach."""
    scores = plane.scores[np.isfinite(plane.scores)]
    return float(np.quantile(scores, 0.9))


def reaching(plane: Plane, threshold: float) -> list[int]:
    """Count the units of each layer that score at least the threshold."""
    counts: list[int] = (np.nan_to_num(plane.scores, nan=-np.inf) >= threshold).sum(1).tolist()
    return counts


def sentence(plane: Plane, threshold: float) -> str:
    """Write the counts: '27 of 270 heads (10.0 %) score at least 0.0123. They hold 61.2 % of the total.'"""
    reach = np.nan_to_num(plane.scores, nan=-np.inf) >= threshold
    units = int(np.isfinite(plane.scores).sum())
    held_share = float(np.abs(plane.scores[reach]).sum()) / (plane.total or 1.0)
    share = formatting.percent(reach.sum() / units)
    return (
        f"{int(reach.sum()):,} of {formatting.counted(plane.unit, units)} ({share}) score at "
        f"least {formatting.score(threshold)}. They hold {formatting.percent(held_share)} of the total."
    )


def figure(plane: Plane, threshold: float) -> dict[str, Any]:
    """Draw the units of each layer that reach the threshold (left), and a histogram of scores with it (right).

    The score axis is logarithmic where no score is negative, since most units score close to 0.
    """
    scores = plane.scores[np.isfinite(plane.scores)]
    log = bool((scores >= 0).all() and (scores > 0).any())
    layers = plane.scores.shape[0]
    counts = reaching(plane, threshold)
    per_layer = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(layers)),
        "x": counts,
        "marker": {"color": INK},
        "hovertemplate": "layer %{y}: %{x:,}<extra></extra>",
    }
    return {
        "data": [per_layer, _histogram(scores[scores > 0] if log else scores, threshold, log)],
        "layout": {
            "height": max(240, min(420, 60 + 12 * layers)),
            "margin": {"l": 46, "r": 16, "t": 8, "b": 48},
            **BASE,
            "bargap": 0.15,
            **_axes(f"{formatting.PLURALS[plane.unit]} that reach the threshold", log, max(counts), layers),
            "shapes": [_draggable_line(threshold)],
            "uirevision": f"{plane.run} {plane.method} {plane.unit.value}",
        },
    }


def _histogram(scores: Any, threshold: float, log: bool) -> dict[str, Any]:
    edges = _edges(scores, log)
    counts, _ = np.histogram(scores, edges)
    middles = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    return {
        "type": "bar",
        "x": middles.tolist(),
        "y": counts.tolist(),
        "width": (edges[1:] - edges[:-1]).tolist(),
        "marker": {"color": [INK if middle >= threshold else REST for middle in middles]},
        "xaxis": "x2",
        "yaxis": "y2",
        "customdata": np.stack([edges[:-1], edges[1:]], axis=1).tolist(),
        "hovertemplate": "%{y:,} score %{customdata[0]:.3g} to %{customdata[1]:.3g}<extra></extra>",
    }


def _axes(title: str, log: bool, most: int, layers: int) -> dict[str, Any]:
    fixed = {"showgrid": False, "zeroline": False, "fixedrange": True}
    decades = {"type": "log", "dtick": 1, "exponentformat": "power"}
    return {
        "xaxis": {
            **fixed,
            "domain": [0, 0.42],
            "rangemode": "tozero",
            **_whole_ticks(most),
            "title": {"text": title, "standoff": 6},
        },
        "yaxis": {**fixed, "autorange": "reversed", **_whole_ticks(layers), "title": {"text": "layer", "standoff": 4}},
        "xaxis2": {
            **fixed,
            "domain": [0.5, 1],
            "anchor": "y2",
            **(decades if log else {}),
            "title": {"text": "score", "standoff": 6},
        },
        "yaxis2": {**fixed, "anchor": "x2", **decades, "title": {"text": "units"}},
    }


def _whole_ticks(most: int) -> dict[str, Any]:
    """Return the ticks of an axis of counts up to `most`: whole numbers only."""
    ticks: dict[str, Any] = {"tickformat": ",d"}
    return ticks | {"dtick": 1} if most <= 6 else ticks


def _draggable_line(threshold: float) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "x2",
        "yref": "y2 domain",
        "x0": threshold,
        "x1": threshold,
        "y0": 0,
        "y1": 1,
        "line": {"color": LINE, "width": 3},
    }


def _edges(scores: Any, log: bool) -> Any:
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
    if log:
        low = max(low, high * 1e-6)
        return np.geomspace(low, high * (1 + 1e-9), BINS + 1)
    return np.linspace(low, high, BINS + 1)
