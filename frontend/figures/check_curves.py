"""Accuracy as units go off, beside random orders: report in, Plotly figures out. Pure; no Dash, no requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from frontend.figures.figure_defaults import BASE
from modelshapley import formatting
from modelshapley.contracts import Curve, Interval, RandomCurve
from modelshapley.evaluation.verdict import random_ranges
from modelshapley.units import UnitKind

MAP, CHANCE = "#3b82d6", "#8b95a5"


@dataclass(frozen=True)
class Line:
    """Accuracies in percent at shares in percent, with bands; `told` says of each point what it is."""

    shares: list[float]
    values: list[float]
    bands: list[Interval]
    told: list[str]


def map_line(curve: Curve, unit: UnitKind) -> Line:
    """From the intact model at 0 % to the last share, with 95 % intervals."""
    points = curve.points
    first = points[0]
    told = [
        f"{formatting.percent(p.accuracy)} of {p.n} right ({formatting.percent_interval(p.interval)})"
        f"<br>{formatting.counted(unit, p.units)} off, {formatting.points(p.difference)} "
        f"({formatting.points_interval(p.difference_interval)})"
        for p in points
    ]
    around = formatting.percent_interval(first.intact_interval)
    start = f"intact: {formatting.percent(first.intact)} of {first.n} right ({around})"
    return Line(
        [0.0, *(100 * p.fraction for p in points)],
        [100 * first.intact, *(100 * p.accuracy for p in points)],
        [_percent(first.intact_interval), *(_percent(p.interval) for p in points)],
        [start, *told],
    )


def chance_line(chance: RandomCurve, curve: Curve) -> Line:
    """Random orders at the shares they were measured at, as far as the curve goes; from the intact model."""
    last, first = curve.points[-1].fraction, curve.points[0]
    reaches = [r for r in random_ranges(chance, curve) if r.fraction <= last]
    told = [
        f"{formatting.percent(r.mean)} right, mean of {chance.draws} random {'orders' if chance.draws > 1 else 'order'}"
        f"<br>from {formatting.percent_interval((r.low, r.high))}"
        for r in reaches
    ]
    return Line(
        [0.0, *(100 * r.fraction for r in reaches)],
        [100 * first.intact, *(100 * r.mean for r in reaches)],
        [_percent(first.intact_interval), *((100 * r.low, 100 * r.high) for r in reaches)],
        ["intact", *told],
    )


def ranges(chance: RandomCurve) -> list[str]:
    """Of each share: '81.4 % (57.7 to 93.6 %)', the mean and the range of the draws."""
    found = zip(chance.accuracy, chance.lowest, chance.highest, strict=True)
    return [f"{formatting.percent(mean)} ({formatting.percent_interval((low, high))})" for mean, low, high in found]


def _percent(interval: Interval) -> Interval:
    return 100 * interval[0], 100 * interval[1]


def figure(curve: Curve, chance: RandomCurve | None, unit: UnitKind) -> dict[str, Any]:
    """x: share of the units that is off; y: accuracy on held-out examples."""
    drawn = [*_traces(map_line(curve, unit), "this map", MAP, "solid", "circle")]
    random = chance_line(chance, curve) if chance is not None else None
    if random is not None and len(random.shares) > 1:
        orders = "orders" if chance is not None and chance.draws > 1 else "order"
        drawn = [*_traces(random, f"random {orders}", CHANCE, "dash", "diamond"), *drawn]
    return {
        "data": drawn,
        "layout": {
            "height": 300,
            "margin": {"l": 52, "r": 12, "t": 30, "b": 46},
            **BASE,
            "hovermode": "closest",
            "hoverlabel": {"align": "left"},
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "reversed"},
            "xaxis": {
                "title": {"text": f"{curve.which} important {formatting.PLURALS[unit]} off, %", "standoff": 6},
                "rangemode": "tozero",
                "zeroline": False,
            },
            "yaxis": {
                "title": {"text": "right, %", "standoff": 4},
                "range": [0, 103],
                "zeroline": False,
                "dtick": 20,
            },
        },
    }


def _traces(line: Line, name: str, colour: str, dash: str, symbol: str) -> Sequence[dict[str, Any]]:
    lows, highs = [low for low, _ in line.bands], [high for _, high in line.bands]
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": [*line.shares, *reversed(line.shares)],
        "y": [*highs, *reversed(lows)],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.2,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    middle = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": line.shares,
        "y": line.values,
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "size": 7, "symbol": symbol},
        "text": line.told,
        "hovertemplate": "<b>%{x:.3g} % off</b><br>%{text}<extra></extra>",
    }
    return band, middle


def sentence(curve: Curve, chance: RandomCurve | None, unit: UnitKind) -> str:
    """Areas under the curves, with what they mean."""
    last = 100 * curve.points[-1].fraction
    better = "the higher" if curve.which == "least" else "the lower"
    told = f"Area {curve.area:.3f}: mean accuracy from 0 to {last:g} % off, {better} the better the order."
    if chance is not None and chance.fractions[-1] == curve.points[-1].fraction:
        told += f" Random {'orders' if chance.draws > 1 else 'order'}: {chance.area:.3f}."
    return told
