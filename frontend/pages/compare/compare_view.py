"""A pair of maps in detail, from arrays to components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from frontend.address import View, write
from frontend.pages.compare import pair, pair_figures
from frontend.pages.compare.pair import Side
from frontend.pages.shared import drawing, empty_states, tables
from modelshapley import formatting
from modelshapley.evaluation.verdict import interval_of_rho
from modelshapley.maps.compare import Overlap, Places, Tops, correlation_interval, rank_at, rank_correlation
from modelshapley.units import Deactivation, UnitKind, unit_name

LISTED = 25
MOST_IN_A_LINK = 2000  # units; servers and proxies refuse longer addresses
EXPLANATION = (
    (
        "Share",
        "A score divided by the sum of absolute scores of its map. Methods measure different quantities, but shares "
        "are comparable. The difference is the share in one map minus the share in the other. Its standard error "
        "assumes independent maps, and is too wide for maps of the same examples.",
    ),
    (
        "ρ",
        "Spearman's rank correlation over all units of the kind, with Fisher's 95 % interval (variance of Bonett "
        "and Wright 2000). The interval covers the choice of units, not the noise of their scores.",
    ),
    (
        "Overlap",
        "The number of units that are among the most important of both maps. By chance: the mean and the 95 % range "
        "for two random sets of the same size (hypergeometric).",
    ),
    (
        "Important in one map only",
        "Units among the most important of one map but not of the other. For maps of two tasks, the paper calls them "
        "field-specific neurons (section 5).",
    ),
)


def view(a: Side, b: Side, unit: UnitKind, top: int) -> Any:
    """Lay out the comparison. top: percent of the units that count as important."""
    warnings, notes = pair.describe_differences(a, b)
    unequal = pair.unequal(a, b, unit)
    head = [_warnings(warnings), *(html.P(note, className="quiet compare-note") for note in notes)]
    if unequal is not None:
        return [*head, empty_states.state("These maps cannot be compared", unequal, order=2)]
    if a.choice == b.choice:
        head.append(html.P("Both are the same map. Choose another one.", className="compare-note"))
    elif not warnings:
        head.append(html.P("Same model, task, examples and seed.", className="quiet compare-note"))
    tops = Tops.of(a.map.scores[unit], b.map.scores[unit], top / 100)
    return [
        *(part for part in head if part is not None),
        _figures(a, b, unit, tops, top),
        _heatmaps(a, b, unit),
        html.Div(
            [_scatter(a, b, unit, tops, top), _lists(a, b, unit, tops, top)], className="trust-grid compare-lower"
        ),
        html.Details(
            [html.Summary("How is this computed?"), *(html.Div([html.B(f"{n}: "), t]) for n, t in EXPLANATION)],
            className="section how",
        ),
    ]


def _warnings(sentences: Sequence[str]) -> Any:
    if not sentences:
        return None
    lines = html.Ul([html.Li(sentence) for sentence in sentences], className="plain-list")
    return dmc.Alert(
        lines, title="These maps were computed differently", color="yellow", variant="light", id="differences"
    )


def _figures(a: Side, b: Side, unit: UnitKind, tops: Tops, top: int) -> Any:
    rho = rank_correlation(a.map.scores[unit], b.map.scores[unit])
    n = int(tops.is_unit.sum())
    if rho is None:
        agreement: list[Any] = [html.Div("ρ unknown", className="card-figure"), "One of the maps is constant."]
    else:
        interval = interval_of_rho(correlation_interval(rho, n))
        agreement = [
            html.Div(
                [html.Span(f"ρ {formatting.signed(rho)}", className="card-figure", id="rho"), html.Span(interval)],
                className="figure-line",
            ),
            f"Spearman correlation of the two rankings over {formatting.counted(unit, n)}, with its 95 % interval.",
        ]
    return html.Div(
        [
            dmc.Paper(
                [dmc.Title("Do the rankings agree?", order=2, size="h4"), *agreement],
                withBorder=True,
                p="md",
                radius="md",
            ),
            _overlap(tops.overlap, unit, top),
        ],
        className="trust-grid compare-figures",
    )


def _overlap(overlap: Overlap, unit: UnitKind, top: int) -> Any:
    return dmc.Paper(
        [
            dmc.Title(f"Do the top {top} % overlap?", order=2, size="h4"),
            html.Div(
                [
                    html.Span(f"{overlap.both:,} of {overlap.k:,}", className="card-figure", id="overlap"),
                    html.Span(f"{formatting.PLURALS[unit]} are in the top {top} % of both"),
                ],
                className="figure-line",
            ),
            _by_chance(overlap),
        ],
        withBorder=True,
        p="md",
        radius="md",
    )


def _by_chance(overlap: Overlap) -> str:
    low, high = overlap.by_chance
    return f"Expected by chance: {overlap.expected:,.1f} (95 % range {low:,} to {high:,})."


def _heatmaps(a: Side, b: Side, unit: UnitKind) -> Any:
    maps = [
        _panel(
            side.name,
            f"Colour: {side.map.quantity}",
            drawing.graph(f"compare-{place}", pair_figures.heatmap(side, unit), f"Map of {side.name}"),
        )
        for place, side in (("first", a), ("second", b))
    ]
    gap = _panel(
        "Difference",
        f"Shares of the total, points. Blue: larger in {a.name}; brown: larger in {b.name}.",
        drawing.graph(
            "compare-gap", pair_figures.difference(a, b, unit), f"Difference of shares: {a.name} minus {b.name}"
        ),
    )
    return html.Div([*maps, gap], className="trust-grid compare-maps")


def _panel(title: str, about: str, figure: Any) -> Any:
    return dmc.Paper(
        [dmc.Title(title, order=2, size="h4"), html.Div(about, className="quiet"), figure],
        withBorder=True,
        p="md",
        radius="md",
    )


def _scatter(a: Side, b: Side, unit: UnitKind, tops: Tops, top: int) -> Any:
    others = len(tops.neither)
    sampled = (
        f" Of {others:,} other units, a random {pair_figures.MOST_OTHERS:,} are drawn."
        if others > pair_figures.MOST_OTHERS
        else ""
    )
    about = f"Each {unit.value} by its share of the total in both maps. Marked: the top {top} %.{sampled}"
    figure = pair_figures.scatter(a, b, unit, tops)
    return _panel("Unit by unit", about, drawing.graph("compare-scatter", figure, about))


def _lists(a: Side, b: Side, unit: UnitKind, tops: Tops, top: int) -> Any:
    first = _only("only-first", a, b, unit, tops.only_first, top)
    return dmc.Stack([first, _only("only-second", b, a, unit, tops.only_second, top)], gap="md")


def _only(element: str, side: Side, other: Side, unit: UnitKind, flat: Places, top: int) -> Any:
    """A table of units, by their places, that are important in one map but not in the other."""
    shape = side.map.scores[unit].shape
    heading = f"Important in {side.name}, not in {other.name}"
    title = dmc.Title(heading, order=2, size="h4")
    if not len(flat):
        empty = html.P(f"No {unit.value}. The top {top} % are the same.", className="quiet")
        return dmc.Paper([title, empty], withBorder=True, p="md", radius="md")
    rows = []
    for place, index in zip(flat[:LISTED].tolist(), pair_figures.places_of(flat[:LISTED], shape), strict=True):
        numbers = [(_score(s, unit, index), f"{rank_at(s.map.scores[unit], place):,}") for s in (side, other)]
        rows.append([unit_name(unit, index), *(number for pair_ in numbers for number in pair_)])
    titles = ["Unit", *(title for s in (side, other) for title in (f"{s.name}: score ± s.e.", "rank"))]
    more = f" Lists the first {LISTED}." if len(flat) > LISTED else ""
    return dmc.Paper(
        [
            title,
            html.Div(
                f"{formatting.counted(unit, len(flat))} of the top {top} % of {side.name}.{more}", className="quiet"
            ),
            html.Div(
                tables.table(titles, rows),
                className="scroll-x only-table",
                tabIndex=0,
                role="region",
                **{"aria-label": heading},
            ),
            _links(side, other, unit, flat),
        ],
        withBorder=True,
        p="md",
        radius="md",
        id=element,
    )


def _score(side: Side, unit: UnitKind, place: tuple[int, ...]) -> str:
    value, error = side.map.scores[unit][place], side.map.standard_errors[unit][place]
    return f"{formatting.score(float(value))} ± {formatting.score(float(error))}"


def _links(side: Side, other: Side, unit: UnitKind, flat: Places) -> Any:
    """Links to both maps, with these units switched off."""
    if len(flat) > MOST_IN_A_LINK:
        too_many = f"{len(flat):,} units are too many for a link. Choose a smaller share."
        return html.Div(too_many, className="quiet")
    places = pair_figures.places_of(flat, side.map.scores[unit].shape)
    off = Deactivation.of({unit: places})
    label = "it" if len(places) == 1 else f"these {len(places):,}"
    links = [
        dcc.Link(
            f"Switch {label} off in {s.name}",
            href=write(s.run.id, View(s.choice.method, unit, off)),
            className="link-button",
        )
        for s in (side, other)
    ]
    return html.Div(links, className="link-row")
