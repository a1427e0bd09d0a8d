"""Maps and curves as SVG, for the report, which opens without a server. Pure."""

from __future__ import annotations

from math import floor, isfinite

import numpy as np

from frontend.figures.check_curves import Line, map_line, random_line
from frontend.figures.heatmaps import DIVERGING, SEQUENTIAL
from frontend.figures.markup import Markup, joined, tag
from frontend.figures.panels import Panel, colour_range
from modelshapley import formatting
from modelshapley.contracts import Curve, RandomCurve
from modelshapley.units import UnitKind

STEPS = 12  # of colour on each side of 0
COLUMNS = 160
WIDTH, LEFT, RIGHT = 900, 44, 6
CURVE_WIDTH, CURVE_HEIGHT = 430, 264
FRAME = (46, 26, 420, 220)  # left, top, right, bottom of a curve's plot


def heatmap(panel: Panel, signed: bool, label: str) -> Markup:
    """Draw a map; rows are layers, the first on top. Colours are CSS classes with the rules of :func:`palette`."""
    low, high, clipped = colour_range(panel.scores, signed)
    layers, columns = panel.scores.shape
    row = min(26, max(9, 420 // layers))
    cell = min(60.0, (WIDTH - LEFT - RIGHT) / columns)
    height = layers * row + 60
    cells = [tag("path", d=path, class_=name) for name, path in _cells(panel, signed, high, cell, row).items()]
    return tag(
        "svg",
        *cells,
        *_layer_labels(layers, row),
        *_column_labels(panel, cell, layers * row),
        *_legend(low, high, clipped, layers * row + 34),
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_label=label,
        class_="map",
    )


def _cells(panel: Panel, signed: bool, high: float, cell: float, row: int) -> dict[str, str]:
    """Return one path for each colour, {class: outline}: a rectangle per cell, with gaps if cells are wide enough."""
    gap = 1 if cell > 6 else 0
    paths: dict[str, list[str]] = {}
    for layer, scores in enumerate(panel.scores.tolist()):
        for column, value in enumerate(scores):
            if isfinite(value):
                left, right = LEFT + column * cell, LEFT + (column + 1) * cell - gap
                outline = f"M{left:.1f} {layer * row}H{right:.1f}v{row - 1}H{left:.1f}z"
                paths.setdefault(step(value, high, signed), []).append(outline)
    return {name: "".join(outlines) for name, outlines in paths.items()}


def step(value: float, high: float, signed: bool) -> str:
    """Return the class of a score's colour: s0 to s11 from 0 up; d-12 to d12 on a signed map."""
    size = min(1.0, abs(value) / high)
    if not signed:
        return f"s{min(STEPS - 1, floor(size * STEPS))}"
    return f"d{round(size * STEPS) * (1 if value > 0 else -1)}"


def _layer_labels(layers: int, row: int) -> list[Markup]:
    interval = 1 if row >= 15 else 5
    return [
        tag("text", f"{layer}", x=LEFT - 6, y=f"{layer * row + row / 2 + 4:.0f}", class_="tick end")
        for layer in range(0, layers, interval)
    ]


def _column_labels(panel: Panel, cell: float, bottom: int) -> list[Markup]:
    if panel.kind is UnitKind.LAYER:
        return []
    columns = len(panel.edges) - 1
    interval = 1 if panel.names else max(1, -(-columns // 8))
    return [
        tag(
            "text",
            str((panel.names or panel.edges)[column]),
            x=f"{LEFT + (column + 0.5) * cell:.0f}",
            y=bottom + 14,
            class_="tick middle",
        )
        for column in range(0, columns, interval)
    ]


def _legend(low: float, high: float, clipped: bool, top: int) -> list[Markup]:
    names = [f"d{n}" for n in range(-STEPS, STEPS + 1)] if low < 0 else [f"s{n}" for n in range(STEPS)]
    width = 200 / len(names)
    boxes = [
        tag("rect", x=f"{LEFT + 54 + n * width:.1f}", y=top, width=f"{width:.1f}", height=10, class_=name)
        for n, name in enumerate(names)
    ]
    more = "≥ " if clipped else ""
    return [
        tag("text", formatting.score(low), x=LEFT + 48, y=top + 9, class_="tick end"),
        *boxes,
        tag("text", f"{more}{formatting.score(high)}", x=LEFT + 260, y=top + 9, class_="tick"),
    ]


def palette() -> str:
    """Write the CSS of the colours, those of the dashboard's light and dark themes."""
    rules = {}
    for theme in ("light", "dark"):
        sequential = {f"s{n}": _between(SEQUENTIAL[theme], n / (STEPS - 1)) for n in range(STEPS)}
        diverging = {f"d{n}": _between(DIVERGING[theme], (n / STEPS + 1) / 2) for n in range(-STEPS, STEPS + 1)}
        rules[theme] = "".join(f".{name}{{fill:{colour}}}" for name, colour in (sequential | diverging).items())
    return f"{rules['light']}@media (prefers-color-scheme: dark){{@media screen{{{rules['dark']}}}}}"


def _between(stops: list[str], place: float) -> str:
    """Interpolate the colour at `place`, 0 to 1, along the stops."""
    at = place * (len(stops) - 1)
    first = min(int(at), len(stops) - 2)
    pair = [np.array([int(stop[i : i + 2], 16) for i in (1, 3, 5)]) for stop in stops[first : first + 2]]
    red, green, blue = np.round(pair[0] + (pair[1] - pair[0]) * (at - first)).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def curve(measured: Curve, random: RandomCurve | None, unit: UnitKind) -> Markup:
    """Draw accuracy against the share that is off, beside random orders, with 95 % bands."""
    line = map_line(measured, unit)
    random_orders = random_line(random, measured) if random is not None else None
    if random_orders is not None and len(random_orders.shares) < 2:
        random_orders = None
    most = line.shares[-1]
    left, top, right, bottom = FRAME
    legend = [("map-line", "this map", left + 8)]
    if random_orders is not None:
        legend.append(("chance-line", "random orders", left + 110))
    label = f"Accuracy with the {measured.which} important {formatting.PLURALS[unit]} off, this map and random orders"
    return tag(
        "svg",
        *_grid(most),
        *(_line(random_orders, most, "chance") if random_orders else []),
        *_line(line, most, "map"),
        *(
            joined(
                [
                    tag("path", d=f"M{x} {bottom + 36}h22", class_=css),
                    tag("text", name, x=x + 28, y=bottom + 40, class_="tick"),
                ]
            )
            for css, name, x in legend
        ),
        tag("text", "% off", x=right, y=bottom + 40, class_="tick end"),
        tag("text", "accuracy, %", x=2, y=top - 12, class_="tick"),
        viewBox=f"0 0 {CURVE_WIDTH} {CURVE_HEIGHT}",
        role="img",
        aria_label=label,
        class_="curve",
    )


def _x(share: float, most: float) -> float:
    left, _, right, _ = FRAME
    return left + (right - left) * share / most


def _y(percent: float) -> float:
    _, top, _, bottom = FRAME
    return bottom - (bottom - top) * percent / 100


def _grid(most: float) -> list[Markup]:
    left, _, right, bottom = FRAME
    lines = []
    for percent in range(0, 101, 20):
        y = f"{_y(percent):.1f}"
        lines += [
            tag("path", d=f"M{left} {y}H{right}", class_="grid"),
            tag("text", f"{percent}", x=left - 6, y=f"{_y(percent) + 4:.1f}", class_="tick end"),
        ]
    for part in range(5):
        share = most * part / 4
        lines.append(tag("text", f"{share:g}", x=f"{_x(share, most):.1f}", y=bottom + 16, class_="tick middle"))
    return lines


def _line(line: Line, most: float, css: str) -> list[Markup]:
    """A line with its band and marks; css: 'map' or 'chance'."""
    bands = [(_x(share, most), band) for share, band in zip(line.shares, line.bands, strict=True)]
    upper = [f"{x:.1f},{_y(high):.1f}" for x, (_, high) in bands]
    lower = [f"{x:.1f},{_y(low):.1f}" for x, (low, _) in reversed(bands)]
    middle = [(_x(share, most), _y(value)) for share, value in zip(line.shares, line.values, strict=True)]
    points = [
        tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, class_="map-mark")
        if css == "map"
        else tag("path", d=f"M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4-4z", class_="chance-mark")
        for x, y in middle
    ]
    return [
        tag("polygon", points=" ".join([*upper, *lower]), class_=f"{css}-band"),
        tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in middle), class_=f"{css}-line"),
        *points,
    ]
