"""Accuracy against the share of units that is off: what the run's check found, and what was tried here. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frontend.figures.figure_defaults import BASE
from modelshapley import formatting
from modelshapley.contracts import CurvePoint, Measured, Trial

BLUE, QUIET, NOW = "#3b82d6", "#8b95a5", "#e8347f"
MOST_POINTS = 200


def remembered(points: Sequence[Mapping[str, Any]], ranked: Mapping[str, Any], trial: Trial) -> list[dict[str, Any]]:
    """The points so far with what a trial measured of a share of the ranking; a newer one replaces its equal."""
    assert trial.interval is not None
    point = {
        "run": trial.run,
        **{name: ranked[name] for name in ("method", "unit", "which", "fraction")},
        "accuracy": trial.accuracy,
        "interval": list(trial.interval),
        "n": trial.n,
    }
    equal = ("run", "method", "unit", "which", "fraction")
    others = [dict(p) for p in points if any(p[name] != point[name] for name in equal)]
    return [*others, point][-MOST_POINTS:]


def of(points: Sequence[Mapping[str, Any]], run: str, method: str, unit: str, which: str) -> list[Mapping[str, Any]]:
    """Those of one ranking of one run, by share."""
    ranking = (run, method, unit, which)
    found = [p for p in points if (p["run"], p["method"], p["unit"], p["which"]) == ranking]
    return sorted(found, key=lambda p: p["fraction"])


def figure(
    tried: Sequence[Mapping[str, Any]],
    checked: Sequence[CurvePoint],
    intact: Measured,
    current: float | None,
) -> dict[str, Any]:
    """tried: of one ranking, by share; checked: its curve by the run's check; current: the share now off."""
    data = [_line(checked)] if checked else []
    others = [p for p in tried if p["fraction"] != current]
    here = [p for p in tried if p["fraction"] == current]
    data += [_points(others, BLUE, 7, "circle"), _points(here, NOW, 11, "diamond")]
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


def sentence(tried: Sequence[Mapping[str, Any]], checked: Sequence[CurvePoint]) -> str:
    """What the picture shows, in words."""
    parts = []
    if checked:
        parts.append(f"line: the run's check, on {checked[0].n} examples")
    if tried:
        parts.append(f"points: tried here ({len(tried)}), with 95 % intervals")
    if not parts:
        return "Switch a share off, then move the slider: each share that is measured adds a point."
    return f"{'; '.join(parts)}; dotted: intact."


def _line(checked: Sequence[CurvePoint]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [100 * p.fraction for p in checked],
        "y": [100 * p.accuracy for p in checked],
        "line": {"color": QUIET, "width": 2},
        "hovertemplate": "%{x:g} % off: %{y:.1f} %<extra>checked</extra>",
    }


def _points(found: Sequence[Mapping[str, Any]], colour: str, size: int, symbol: str) -> dict[str, Any]:
    heights = [100 * p["accuracy"] for p in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * p["fraction"] for p in found],
        "y": heights,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * p["interval"][1] - y for p, y in zip(found, heights, strict=True)],
            "arrayminus": [y - 100 * p["interval"][0] for p, y in zip(found, heights, strict=True)],
            "thickness": 1.5,
            "width": 0,
            "color": colour,
        },
        "marker": {"color": colour, "size": size, "symbol": symbol},
        "customdata": [[formatting.percent_interval(tuple(p["interval"])), p["n"]] for p in found],
        "hovertemplate": "%{x:g} % off: %{y:.1f} %<br>%{customdata[0]}, n %{customdata[1]}<extra></extra>",
    }
