"""One kind of unit of a map, pooled to the resolution of a screen. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from frontend.display import PLAIN, Display
from frontend.figures.planes import Array, Plane, counted, magnitude, ranks
from modelshapley.contracts import MapData
from modelshapley.maps.importance import by_projection, spans_of
from modelshapley.units import UnitKind

Scores = Plane | MapData
CELLS = 26_000
"""The most cells of a panel, so that its data stay below 400 KB."""
FEWEST, MOST = 150, 600
"""Columns of a pooled panel; more than MOST would be narrower than a pixel."""
SORTABLE = 65_536
"""The most units of a kind that can be sorted within their layers, since the page needs every position then."""
DECADES = 4.0


@dataclass(frozen=True)
class Panel:
    """One kind of unit, ready to draw. All arrays are (layers, columns) but `edges` (columns + 1); NaN: no unit.

    values: the quantity of the colours, by `display`. best: the index within its layer of the unit that a column
    shows; for rows, how many a cell averages. rank: 1 is the highest score of the kind.
    edges: the places where columns start, equidistant but for the last. A place is a unit's index in its layer or, in
    sorted layers, its position; `order` (layers, units) then maps positions to indices.
    units: their number; width: the places of the widest layer. counts: units of each layer, where they differ.
    names, spans: for rows, which are drawn as the mean of each linear map: the maps' names, and for each layer the
    (start, stop) of each map's rows.
    """

    kind: UnitKind
    display: Display
    scores: Array
    errors: Array
    values: Array
    best: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int64]
    edges: list[int]
    units: int
    width: int
    counts: list[int] | None = None
    order: npt.NDArray[np.int64] | None = None
    names: list[str] | None = None
    spans: list[list[tuple[int, int]]] | None = None

    @property
    def pooled(self) -> bool:
        """Whether a column covers more than one unit."""
        return self.names is None and self.edges[1] - self.edges[0] > 1

    @property
    def zoomable(self) -> bool:
        """Whether zooming in would show more."""
        return self.names is None and self.width > MOST // 4


def columns_for(layers: int) -> int:
    """Return the most columns of a panel with that many layers."""
    return max(FEWEST, min(MOST, CELLS // layers))


def pooled_panel(
    data: Scores,
    columns: int | None = None,
    display: Display = PLAIN,
    window: tuple[int, int] | None = None,
) -> Panel:
    """Pool a full-resolution map to at most `columns` equal columns, each showing its unit of largest magnitude.

    window: the places to draw, start included, end excluded.
    """
    scores, errors = np.asarray(data.scores, dtype=float), np.asarray(data.standard_errors, dtype=float)
    layers, width = scores.shape
    rank = data.ranks if isinstance(data, Plane) else ranks(scores)
    counts = data.counts if isinstance(data, Plane) else counted(scores)
    order = np.argsort(-scores, axis=1, kind="stable") if display.ordered and scores.size <= SORTABLE else None
    start, stop = window or (0, width)
    step = -(-(stop - start) // (columns or columns_for(layers)))
    edges = [*range(start, stop, step), stop]
    visible = scores[:, start:stop] if order is None else np.take_along_axis(scores, order[:, start:stop], 1)
    sizes = np.nan_to_num(np.abs(visible), nan=-1)
    places = np.stack([a + sizes[:, a - start : b - start].argmax(1) for a, b in pairwise(edges)], axis=1)
    best = places if order is None else np.take_along_axis(order, places, 1)
    pooled_scores, pooled_errors, pooled_rank = (np.take_along_axis(array, best, 1) for array in (scores, errors, rank))
    total = data.total if isinstance(data, Plane) else magnitude(scores)
    return Panel(
        kind=data.unit,
        display=display,
        scores=pooled_scores,
        errors=pooled_errors,
        values=_values(pooled_scores, pooled_rank, sum(counts), total, display),
        best=best,
        rank=pooled_rank,
        edges=edges,
        units=sum(counts),
        width=width,
        counts=counts if len(set(counts)) > 1 else None,
        order=order,
    )


def rows_panel(data: Scores, projections: Sequence[Mapping[str, int]], display: Display = PLAIN) -> Panel:
    """Average rows over each linear map they belong to, (layers, maps) (paper, Figure 1). They are never sorted.

    The error is the mean of the rows' own, an upper bound for that of the mean.
    """
    spans_by_layer = spans_of(projections)
    scores, errors = np.asarray(data.scores, dtype=float), np.asarray(data.standard_errors, dtype=float)
    means, bounds, names = by_projection(scores, errors, spans_by_layer)
    spans = [[maps.get(name, (0, 0)) for name in names] for maps in spans_by_layer]
    sizes = np.array([[stop - start for start, stop in row] for row in spans])
    edges, rank = list(range(len(names) + 1)), ranks(means)
    values = _values(means, rank, int(np.isfinite(means).sum()), magnitude(means), display)
    return Panel(
        data.unit,
        display,
        means,
        bounds,
        values,
        sizes,
        rank,
        edges,
        int(sizes.sum()),
        len(names),
        names=names,
        spans=spans,
    )


def _values(scores: Array, rank: npt.NDArray[np.int64], units: int, total: float, display: Display) -> Array:
    """Return the quantity of the colours: scores, percents of the `total`, or percentile ranks."""
    if display.colour == "percentile":
        return np.where(np.isfinite(scores), 100 * (units - rank + 1) / units, np.nan)
    if display.colour == "share":
        return 100 * scores / (total or 1.0)
    return scores


def colour_range(values: Array, signed: bool) -> tuple[float, float, bool]:
    """Return (low, high, clipped): from 0 up, or symmetric around 0 on a signed map.

    One outlier would leave every other cell pale, so a maximum far above the 99th percentile is clipped to it.
    """
    sizes = np.abs(values[np.isfinite(values)])
    if not sizes.size:  # no unit is scored yet
        return (-1.0 if signed else 0.0), 1.0, False
    top, typical = float(sizes.max()), float(np.quantile(sizes, 0.99))
    clipped = values.size > 300 and top > 3 * typical > 0
    high = (typical if clipped else top) or 1.0
    return (-high if signed else 0.0), high, clipped


@dataclass(frozen=True)
class Colours:
    """The z of every cell, and the colour bar: from `low` to `high`, with (place, text) of its ticks."""

    z: Array
    low: float
    high: float
    ticks: list[tuple[float, str]]


def colours(panel: Panel, signed: bool) -> Colours:
    """Return the colours of a panel: by its values, or by their logarithms down to DECADES below the highest."""
    if panel.display.colour == "percentile":
        return Colours(panel.values, 0.0, 100.0, [(0.0, "0"), (100.0, "100 %")])
    low, high, clipped = colour_range(panel.values, signed)
    unit = " %" if panel.display.colour == "share" else ""
    if panel.display.log and not signed:
        top = np.log10(np.nanmax(panel.values)) if np.nanmax(panel.values) > 0 else 0.0
        with np.errstate(divide="ignore"):
            z = np.where(np.isnan(panel.values), np.nan, np.maximum(np.log10(panel.values), top - DECADES))
        places = [top - DECADES, top - DECADES / 2, top]
        labels = [f"{'≤ ' if place == places[0] else ''}{_number(10**place)}{unit}" for place in places]
        return Colours(z, places[0], float(top), list(zip(places, labels, strict=True)))
    ticks = [low, 0.0, high] if low < 0 else [0.0, high]
    labels = [_number(tick) for tick in ticks]
    labels[-1] = f"{'≥ ' if clipped else ''}{labels[-1]}{unit}"
    return Colours(panel.values, low, high, list(zip(ticks, labels, strict=True)))


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212")
