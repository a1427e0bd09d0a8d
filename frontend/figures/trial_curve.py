"""The curve of accuracy against the share of units that is off, from the run's check and from trials. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frontend.figures.figure_defaults import BASE
from modelshapley import formatting
from modelshapley.contracts import CurvePoint, Measured, Trial

BLUE, QUIET, HIGHLIGHT = "#3b82d6", "#8b95a5", "#e8347f"
MOST_POINTS = 200


def remembered(points: Sequence[Mapping[str, Any]], ranked: Mapping[str, Any], trial: Trial) -> list[dict[str, Any]]:
    """Add a trial of a share of the ranking to the points; it replaces an older one of the same share."""
    assert trial.interval is not None
    point = {
        "run": trial.run,
        **{name: ranked[name] for name in ("method", "unit", "which", "fraction")},
        "accuracy": trial.accuracy,
        "interval": list(trial.interval),
        "n": trial.n,
    }
    key = ("run", "method", "unit", "which", "fraction")
    others = [dict(p) for p in points if any(p[name] != point[name] for name in key)]
    return [*others, point][-MOST_POINTS:]


def points_of(
    points: Sequence[Mapping[str, Any]], run: str, method: str, unit: str, which: str
) -> list[Mapping[str, Any]]:
    """Return the points of one ranking of one run, by share."""
    ranking = (run, method, unit, which)
    of_ranking = [p for p in points if (p["run"], p["method"], p["unit"], p["which"]) == ranking]
    return sorted(of_ranking, key=lambda p: p["fraction"])


def figure(
    trials: Sequence[Mapping[str, Any]],
    checked: Sequence[CurvePoint],
    intact: Measured,
    current: float | None,
) -> dict[str, Any]:
    """Draw a ranking's trials and the curve of its check. current: the share that is highlighted, being off now."""
    data = [_line(checked)] if checked else []
    others = [p for p in trials if p["fraction"] != current]
    highlighted = [p for p in trials if p["fraction"] == current]
    data += [_points(others, BLUE, 7, "circle"), _points(highlighted, HIGHLIGHT, 11, "diamond")]
    return {
        "data": data,
        "layout": {
            "height": 170,
            "margin": {"l": 40, "r": 24, "t": 6, "b": 36},
            **BASE,
            "xaxis": {
                "range": [-2, 102],
                "dtick": 25,
                "ticksuffix": " %",
                "fixedrange": True,
                "title": {"text": "off", "standoff": 2},
                "zeroline": False,
            },
            "yaxis": {"range": [0, 103], "dtick": 25, "ticksuffix": " %", "fixedrange": True, "zeroline": False},
            "shapes": [
                {
                    "type": "line",
                    "xref": "paper",
                    "x0": 0,
                    "x1": 1,
                    "y0": 100 * intact.accuracy,
                    "y1": 100 * intact.accuracy,
                    "line": {"color": QUIET, "width": 1, "dash": "dot"},
                }
            ],
        },
    }


def sentence(trials: Sequence[Mapping[str, Any]], checked: Sequence[CurvePoint]) -> str:
    """Write the legend."""
    parts = []
    if checked:
        parts.append(f"Line: the run's check ({checked[0].n} examples).")
    if trials:
        parts.append(f"Points: your trials ({len(trials)}), with 95 % intervals.")
    if not parts:
        return "Switch a share off, then move the slider. Each measured share adds a point."
    return f"{' '.join(parts)} Dotted: intact."


def _line(checked: Sequence[CurvePoint]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [100 * p.fraction for p in checked],
        "y": [100 * p.accuracy for p in checked],
        "line": {"color": QUIET, "width": 2},
        "hovertemplate": "%{x:g} % off: %{y:.1f} %<extra>checked</extra>",
    }


def _points(points: Sequence[Mapping[str, Any]], colour: str, size: int, symbol: str) -> dict[str, Any]:
    heights = [100 * p["accuracy"] for p in points]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * p["fraction"] for p in points],
        "y": heights,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * p["interval"][1] - y for p, y in zip(points, heights, strict=True)],
            "arrayminus": [y - 100 * p["interval"][0] for p, y in zip(points, heights, strict=True)],
            "thickness": 1.5,
            "width": 0,
            "color": colour,
        },
        "marker": {"color": colour, "size": size, "symbol": symbol},
        "customdata": [[formatting.percent_interval(tuple(p["interval"])), p["n"]] for p in points],
        "hovertemplate": "%{x:g} % off: %{y:.1f} %<br>%{customdata[0]}, n %{customdata[1]}<extra></extra>",
    }
