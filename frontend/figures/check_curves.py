"""The curves of a check: accuracy as units are removed, beside random orders. Pure; no Dash, no requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from frontend.figures.figure_defaults import BASE
from modelshapley import formatting
from modelshapley.contracts import Curve, Interval, RandomCurve
from modelshapley.evaluation.verdict import random_ranges
from modelshapley.units import UnitKind

MAP, RANDOM = "#3b82d6", "#8b95a5"


@dataclass(frozen=True)
class Line:
    """Accuracies in percent at shares in percent, with bands; `labels` describes each point."""

    shares: list[float]
    values: list[float]
    bands: list[Interval]
    labels: list[str]


def map_line(curve: Curve, unit: UnitKind) -> Line:
    """Return a map's curve, from the intact model at 0 % to the last share, with 95 % intervals."""
    points = curve.points
    first = points[0]
    labels = [
        f"accuracy {formatting.percent(p.accuracy)} ({formatting.percent_interval(p.interval)}), n {p.n}"
        f"<br>{formatting.counted(unit, p.units)} off, {formatting.points(p.difference)} "
        f"({formatting.points_interval(p.difference_interval)})"
        for p in points
    ]
    interval = formatting.percent_interval(first.intact_interval)
    start = f"intact accuracy {formatting.percent(first.intact)} ({interval}), n {first.n}"
    return Line(
        [0.0, *(100 * p.fraction for p in points)],
        [100 * first.intact, *(100 * p.accuracy for p in points)],
        [_percent(first.intact_interval), *(_percent(p.interval) for p in points)],
        [start, *labels],
    )


def random_line(random: RandomCurve, curve: Curve) -> Line:
    """Return the curve of random orders, at the shares where they were measured, up to the last of `curve`."""
    last, first = curve.points[-1].fraction, curve.points[0]
    reaches = [r for r in random_ranges(random, curve) if r.fraction <= last]
    orders = f"random {'orders' if random.draws > 1 else 'order'}"
    labels = [
        f"accuracy {formatting.percent(r.mean)}, mean of {random.draws} {orders}"
        f"<br>range {formatting.percent_interval((r.low, r.high))}"
        for r in reaches
    ]
    return Line(
        [0.0, *(100 * r.fraction for r in reaches)],
        [100 * first.intact, *(100 * r.mean for r in reaches)],
        [_percent(first.intact_interval), *((100 * r.low, 100 * r.high) for r in reaches)],
        ["intact", *labels],
    )


def ranges(random: RandomCurve) -> list[str]:
    """Write the mean and the range of the draws at each share: '81.4 % (57.7 to 93.6 %)'."""
    shares = zip(random.accuracy, random.lowest, random.highest, strict=True)
    return [f"{formatting.percent(mean)} ({formatting.percent_interval((low, high))})" for mean, low, high in shares]


def _percent(interval: Interval) -> Interval:
    return 100 * interval[0], 100 * interval[1]


def figure(curve: Curve, random: RandomCurve | None, unit: UnitKind) -> dict[str, Any]:
    """Draw the accuracy on held-out examples (y) against the share of units that is off (x)."""
    traces = [*_traces(map_line(curve, unit), "this map", MAP, "solid", "circle")]
    line = random_line(random, curve) if random is not None else None
    if line is not None and len(line.shares) > 1:
        orders = "orders" if random is not None and random.draws > 1 else "order"
        traces = [*_traces(line, f"random {orders}", RANDOM, "dash", "diamond"), *traces]
    return {
        "data": traces,
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
                "title": {"text": "accuracy, %", "standoff": 4},
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
        "text": line.labels,
        "hovertemplate": "<b>%{x:.3g} % off</b><br>%{text}<extra></extra>",
    }
    return band, middle


def sentence(curve: Curve, random: RandomCurve | None, unit: UnitKind) -> str:
    """Write the areas under the curves, and what they mean."""
    last = 100 * curve.points[-1].fraction
    better = "Higher" if curve.which == "least" else "Lower"
    text = f"Area {curve.area:.3f}: mean accuracy from 0 to {last:g} % off. {better} is better."
    if random is not None and random.fractions[-1] == curve.points[-1].fraction:
        text += f" Random {'orders' if random.draws > 1 else 'order'}: {random.area:.3f}."
    return text
