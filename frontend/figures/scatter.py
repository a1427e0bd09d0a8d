"""Predicted against measured: trials in, a Plotly figure and a sentence out. Pure; no Dash, no requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frontend.figures.figure_defaults import BASE
from modelshapley import formatting
from modelshapley.contracts import Interval, Status, Trial
from modelshapley.maps.compare import rank_correlation

BLUE, NOW = "#3b82d6", "#e8347f"


@dataclass(frozen=True)
class Point:
    """A measured trial. predicted: sum of scores; change and interval: of the accuracy, in points."""

    trial: str
    name: str
    predicted: float
    change: float
    interval: Interval


def points(trials: Sequence[Trial], computed: str) -> list[Point]:
    """Of trials that are done and of which the map of `computed` has a say."""
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


def sentence(found: Sequence[Point]) -> str:
    """How well the order is predicted, in words."""
    if len(found) < 2:
        return "Here the map's predictions meet what is measured, once two different selections have been tried."
    rho = rank_correlation(np.array([p.predicted for p in found]), np.array([p.change for p in found]))
    if rho is None:
        return f"{len(found)} trials; their order can be compared from three that differ."
    told = f"{rho:.2f}".replace("-", formatting.MINUS)
    return (
        f"Spearman's ρ {told} over {len(found)} trials ({formatting.MINUS}1: the more the map predicts, the more "
        "accuracy is lost, without exception)."
    )


def figure(found: Sequence[Point], quantity: str, current: str | None) -> dict[str, Any]:
    """x: predicted, in the map's quantity; y: change of accuracy, 95 % interval; the trial in view stands out."""
    others = [p for p in found if p.trial != current]
    here = [p for p in found if p.trial == current]
    return {
        "data": [_trace(others, BLUE, 8, "circle"), _trace(here, NOW, 13, "diamond")],
        "layout": {
            "height": 300,
            "margin": {"l": 58, "r": 12, "t": 8, "b": 58},
            **BASE,
            "hoverlabel": {"align": "left"},
            "xaxis": {"title": {"text": f"sum of scores: {_wrapped(quantity)}", "standoff": 8}, "zeroline": True},
            "yaxis": {"title": {"text": "measured change, pts", "standoff": 4}, "zeroline": True},
        },
    }


def _trace(found: Sequence[Point], colour: str, size: int, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [p.predicted for p in found],
        "y": [p.change for p in found],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [p.interval[1] - p.change for p in found],
            "arrayminus": [p.change - p.interval[0] for p in found],
            "thickness": 1,
            "width": 0,
            "color": colour,
        },
        "marker": {"color": colour, "size": size, "symbol": symbol, "opacity": 0.85},
        "text": [p.name for p in found],
        "customdata": [list(p.interval) for p in found],
        "hovertemplate": (
            "<b>%{text}</b><br>predicted %{x:.3g}<br>measured %{y:+.1f} pts "
            "(%{customdata[0]:+.1f} to %{customdata[1]:+.1f})<extra></extra>"
        ),
    }


def _wrapped(text: str, width: int = 44) -> str:
    """On two lines, where one would be cut."""
    if len(text) <= width:
        return text
    cut = text.rfind(" ", 0, width)
    return f"{text[:cut]}<br>{text[cut + 1 :]}"
