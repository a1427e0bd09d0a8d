"""The scatter plot of predicted against measured effects of trials. Pure; no Dash, no requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from frontend.figures.figure_defaults import BASE
from modelshapley import formatting
from modelshapley.contracts import Interval, Status, Trial
from modelshapley.maps.compare import rank_correlation

BLUE, HIGHLIGHT = "#3b82d6", "#e8347f"
AXIS_CHARACTERS = 40


@dataclass(frozen=True)
class Point:
    """A measured trial. predicted: sum of scores; change and interval: of the accuracy, in points."""

    trial: str
    name: str
    predicted: float
    change: float
    interval: Interval


def points(trials: Sequence[Trial], computed: str) -> list[Point]:
    """Return a point for each finished trial that the map of the method `computed` predicts."""
    return [
        Point(
            t.id,
            f"{t.off.deactivation().describe()} {formatting.treated(t.treatment)}",
            t.predicted[computed],
            100 * t.difference,
            (100 * t.difference_interval[0], 100 * t.difference_interval[1]),
        )
        for t in trials
        if t.status is Status.DONE
        and t.difference is not None
        and t.difference_interval is not None
        and computed in t.predicted
    ]


def sentence(points: Sequence[Point]) -> str:
    """Write how well the map predicts the order of the trials."""
    if len(points) < 2:
        return "Needs at least two trials of different selections."
    rho = rank_correlation(np.array([p.predicted for p in points]), np.array([p.change for p in points]))
    if rho is None:
        return f"{len(points)} trials. Comparing their order needs at least three that differ."
    return (
        f"Spearman's ρ {formatting.signed(rho)} over {len(points)} trials "
        f"({formatting.MINUS}1: a higher prediction always means a larger loss of accuracy)."
    )


def figure(points: Sequence[Point], quantity: str, current: str | None) -> dict[str, Any]:
    """Draw the prediction (x, in the map's quantity) and the change in accuracy (y, with its 95 % interval).

    current: the trial that is highlighted.
    """
    others = [p for p in points if p.trial != current]
    highlighted = [p for p in points if p.trial == current]
    return {
        "data": [_trace(others, BLUE, 8, "circle"), _trace(highlighted, HIGHLIGHT, 13, "diamond")],
        "layout": {
            "height": 300,
            "margin": {"l": 58, "r": 12, "t": 8, "b": 58},
            **BASE,
            "hoverlabel": {"align": "left"},
            "xaxis": {"title": {"text": _wrapped(f"sum of scores: {quantity}"), "standoff": 8}, "zeroline": True},
            "yaxis": {"title": {"text": "measured change, pts", "standoff": 4}, "zeroline": True},
        },
    }


def _trace(points: Sequence[Point], colour: str, size: int, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [p.predicted for p in points],
        "y": [p.change for p in points],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [p.interval[1] - p.change for p in points],
            "arrayminus": [p.change - p.interval[0] for p in points],
            "thickness": 1,
            "width": 0,
            "color": colour,
        },
        "marker": {"color": colour, "size": size, "symbol": symbol, "opacity": 0.85},
        "text": [p.name for p in points],
        "customdata": [list(p.interval) for p in points],
        "hovertemplate": (
            "<b>%{text}</b><br>predicted %{x:.3g}<br>measured %{y:+.1f} pts "
            "(%{customdata[0]:+.1f} to %{customdata[1]:+.1f})<extra></extra>"
        ),
    }


def _wrapped(text: str) -> str:
    """Break a text into lines that fit the axis on a phone."""
    return "<br>".join(wrap(text, AXIS_CHARACTERS))
