"""How many units matter: the distribution of scores, and how many of each layer reach a threshold. Pure.

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


def suggested(found: Plane) -> float:
    """A threshold that the highest tenth of the units reach."""
    scores = found.scores[np.isfinite(found.scores)]
    return float(np.quantile(scores, 0.9))


def reaching(found: Plane, threshold: float) -> list[int]:
    """Of each layer, how many units score at least the threshold."""
    counts: list[int] = (np.nan_to_num(found.scores, nan=-np.inf) >= threshold).sum(1).tolist()
    return counts


def sentence(found: Plane, threshold: float) -> str:
    """'27 of 270 heads (10.0 %) score at least 0.0123; together they hold 61.2 % of all magnitude.'"""
    reach = np.nan_to_num(found.scores, nan=-np.inf) >= threshold
    units = int(np.isfinite(found.scores).sum())
    held = float(np.abs(found.scores[reach]).sum()) / (found.total or 1.0)
    share = formatting.percent(reach.sum() / units)
    return (
        f"{int(reach.sum()):,} of {formatting.counted(found.unit, units)} ({share}) score at "
        f"least {formatting.score(threshold)}; together they hold {formatting.percent(held)} of all magnitude."
    )


def figure(found: Plane, threshold: float) -> dict[str, Any]:
    """Left: how many of each layer reach the threshold. Right: how scores are spread, with the line to drag.

    The spread is on a logarithmic axis where no score is negative: most units score close to nothing.
    """
    scores = found.scores[np.isfinite(found.scores)]
    log = bool((scores >= 0).all() and (scores > 0).any())
    shown = scores[scores > 0] if log else scores
    edges = _edges(shown, log)
    counts, _ = np.histogram(shown, edges)
    middles = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    layers = list(range(found.scores.shape[0]))
    of_layer = reaching(found, threshold)
    axis = {"showgrid": False, "zeroline": False}
    decades = {"type": "log", "dtick": 1, "exponentformat": "power"}
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": layers,
                "x": of_layer,
                "marker": {"color": INK},
                "hovertemplate": "layer %{y}: %{x:,}<extra></extra>",
            },
            {
                "type": "bar",
                "x": middles.tolist(),
                "y": counts.tolist(),
                "width": (edges[1:] - edges[:-1]).tolist(),
                "marker": {"color": [INK if middle >= threshold else REST for middle in middles]},
                "xaxis": "x2",
                "yaxis": "y2",
                "customdata": np.stack([edges[:-1], edges[1:]], axis=1).tolist(),
                "hovertemplate": "%{y:,} score %{customdata[0]:.3g} to %{customdata[1]:.3g}<extra></extra>",
            },
        ],
        "layout": {
            "height": max(240, min(420, 60 + 12 * len(layers))),
            "margin": {"l": 46, "r": 16, "t": 8, "b": 48},
            **BASE,
            "bargap": 0.15,
            "xaxis": {**axis, "domain": [0, 0.42], "rangemode": "tozero", "fixedrange": True, "tickformat": ",d"}
            | {"title": {"text": f"{formatting.PLURALS[found.unit]} that reach the threshold", "standoff": 6}},
            "yaxis": {
                **axis,
                "autorange": "reversed",
                "fixedrange": True,
                "title": {"text": "layer", "standoff": 4},
            },
            "xaxis2": {**axis, "domain": [0.5, 1], "anchor": "y2", "fixedrange": True}
            | (decades if log else {})
            | {"title": {"text": "score", "standoff": 6}},
            "yaxis2": {**axis, "anchor": "x2", "fixedrange": True, **decades, "title": {"text": "units"}},
            "shapes": [
                {
                    "type": "line",
                    "xref": "x2",
                    "yref": "y2 domain",
                    "x0": threshold,
                    "x1": threshold,
                    "y0": 0,
                    "y1": 1,
                    "line": {"color": LINE, "width": 3},
                }
            ],
            "uirevision": f"{found.run} {found.method} {found.unit.value}",
        },
    }


def _edges(scores: Any, log: bool) -> Any:
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
    if log:
        low = max(low, high * 1e-6)
        return np.geomspace(low, high * (1 + 1e-9), BINS + 1)
    return np.linspace(low, high, BINS + 1)
