"""What differs between two maps: arrays in, components out."""

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

Named = tuple[str, Side]
LISTED = 25
MOST_IN_A_LINK = 2000  # units; a longer address is refused on its way
HOW = (
    (
        "Share",
        "A score divided by the sum of all magnitudes of its map: maps of different methods measure different "
        "quantities, shares are comparable. A − B: the share in A minus that in B; its standard error takes the "
        "maps for independent, which is too wide where both are of the same examples.",
    ),
    (
        "ρ",
        "Spearman's rank correlation over all units of the kind, with Fisher's 95 % interval (variance of Bonett "
        "and Wright 2000). It is about units, and knows nothing of the noise of single scores.",
    ),
    (
        "Overlap",
        "Of the most important units of each map: how many both have. By chance: two random choices of as many, "
        "the mean and the range of 95 % of cases (hypergeometric).",
    ),
    (
        "Important for one only",
        "Units among the most important of one map and not of the other: what the paper calls field-specific "
        "neurons where the maps are of two tasks (section 5).",
    ),
)


def view(a: Side, b: Side, unit: UnitKind, top: int) -> Any:
    """top: percent of the units that count as important."""
    warned, told = pair.apart(a, b)
    unequal = pair.unequal(a, b, unit)
    head = [_warnings(warned), *(html.P(sentence, className="quiet compare-note") for sentence in told)]
    if unequal is not None:
        return [*head, empty_states.state("These maps cannot be compared", unequal, order=2)]
    if a.choice == b.choice:
        head.append(html.P("A and B are the same map; choose another for one of them.", className="compare-note"))
    elif not warned:
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
            [html.Summary("How is this computed?"), *(html.Div([html.B(f"{n}: "), t]) for n, t in HOW)],
            className="section how",
        ),
    ]


def _warnings(sentences: Sequence[str]) -> Any:
    if not sentences:
        return None
    lines = html.Ul([html.Li(sentence) for sentence in sentences], className="plain-list")
    return dmc.Alert(lines, title="These maps were not made alike", color="yellow", variant="light", id="apart")


def _figures(a: Side, b: Side, unit: UnitKind, tops: Tops, top: int) -> Any:
    rho, overlap = rank_correlation(a.map.scores[unit], b.map.scores[unit]), tops.overlap
    plural = formatting.PLURALS[unit]
    n = int(tops.is_unit.sum())
    if rho is None:
        order: list[Any] = [html.Div("ρ unknown", className="card-figure"), "One of the maps is constant."]
    else:
        around = interval_of_rho(correlation_interval(rho, n))
        order = [
            html.Div(
                [html.Span(f"ρ {formatting.signed(rho)}", className="card-figure", id="rho"), html.Span(around)],
                className="figure-line",
            ),
            f"Spearman correlation of the two orders, {formatting.counted(unit, n)}; 95 % interval.",
        ]
    return html.Div(
        [
            dmc.Paper(
                [dmc.Title("Do they order alike?", order=2, size="h4"), *order],
                withBorder=True,
                p="md",
                radius="md",
            ),
            dmc.Paper(
                [
                    dmc.Title(f"Do they share their most important {top} %?", order=2, size="h4"),
                    html.Div(
                        [
                            html.Span(f"{overlap.both:,} of {overlap.k:,}", className="card-figure", id="overlap"),
                            html.Span(f"{plural} are among the top of both"),
                        ],
                        className="figure-line",
                    ),
                    _by_chance(overlap),
                ],
                withBorder=True,
                p="md",
                radius="md",
            ),
        ],
        className="trust-grid compare-figures",
    )


def _by_chance(overlap: Overlap) -> str:
    low, high = overlap.by_chance
    return f"By chance it would be {overlap.expected:,.1f} ({low:,} to {high:,} in 95 % of cases)."


def _heatmaps(a: Side, b: Side, unit: UnitKind) -> Any:
    maps = [
        _panel(
            name,
            side.map.quantity,
            drawing.graph(f"compare-{name}", pair_figures.heatmap(side, unit), f"Map {name}"),
        )
        for name, side in (("A", a), ("B", b))
    ]
    gap = _panel(
        f"A {formatting.MINUS} B",
        "difference of shares of the total, points; blue: weighs more in A, brown: more in B",
        drawing.graph("compare-gap", pair_figures.difference(a, b, unit), "Where A and B differ"),
    )
    return html.Div([*maps, gap], className="trust-grid compare-maps")


def _panel(title: str, about: str, picture: Any) -> Any:
    return dmc.Paper(
        [dmc.Title(title, order=2, size="h4"), html.Div(about, className="quiet"), picture],
        withBorder=True,
        p="md",
        radius="md",
    )


def _scatter(a: Side, b: Side, unit: UnitKind, tops: Tops, top: int) -> Any:
    others = len(tops.neither)
    left = (
        f" Of the {others:,} others {pair_figures.MOST_OTHERS:,} are drawn, chosen at random."
        if others > pair_figures.MOST_OTHERS
        else ""
    )
    said = f"Each {unit.value} by its share of all importance in A and in B; marked: the top {top} %.{left}"
    figure = pair_figures.scatter(a, b, unit, tops)
    return _panel("A against B", said, drawing.graph("compare-scatter", figure, said))


def _lists(a: Side, b: Side, unit: UnitKind, tops: Tops, top: int) -> Any:
    first = _only(("A", a), ("B", b), unit, tops.only_first, top)
    return dmc.Stack([first, _only(("B", b), ("A", a), unit, tops.only_second, top)], gap="md")


def _only(here: Named, there: Named, unit: UnitKind, flat: Places, top: int) -> Any:
    """Units, by their places, that are important in one map and not in the other."""
    (name, side), (other_name, other) = here, there
    shape = side.map.scores[unit].shape
    title = dmc.Title(f"Important for {name}, not for {other_name}", order=2, size="h4")
    if not len(flat):
        none = html.P(f"No {unit.value}: the top {top} % are the same.", className="quiet")
        return dmc.Paper([title, none], withBorder=True, p="md", radius="md")
    rows = []
    for place, index in zip(flat[:LISTED].tolist(), pair_figures.position_effects(flat[:LISTED], shape), strict=True):
        numbers = [(_score(s, unit, index), f"{rank_at(s.map.scores[unit], place):,}") for s in (side, other)]
        rows.append([unit_name(unit, index), *(number for both in numbers for number in both)])
    titles = ("Unit", f"{name}: score ± s.e.", "rank", f"{other_name}: score ± s.e.", "rank")
    label = f"Important for {name}, not for {other_name}"
    more = f" The first {LISTED} are listed." if len(flat) > LISTED else ""
    return dmc.Paper(
        [
            title,
            html.Div(f"{formatting.counted(unit, len(flat))} of the top {top} % of {name}.{more}", className="quiet"),
            html.Div(
                tables.table(titles, rows),
                className="scroll-x only-table",
                tabIndex=0,
                role="region",
                **{"aria-label": label},
            ),
            _links(here, there, unit, flat),
        ],
        withBorder=True,
        p="md",
        radius="md",
        id=f"only-{name.lower()}",
    )


def _score(side: Side, unit: UnitKind, place: tuple[int, ...]) -> str:
    value, error = side.map.scores[unit][place], side.map.standard_errors[unit][place]
    return f"{formatting.score(float(value))} ± {formatting.score(float(error))}"


def _links(here: Named, there: Named, unit: UnitKind, flat: Places) -> Any:
    """To the maps, with these units switched off."""
    if len(flat) > MOST_IN_A_LINK:
        few = f"{len(flat):,} units are too many for a link; choose a smaller share of the most important."
        return html.Div(few, className="quiet")
    places = pair_figures.position_effects(flat, here[1].map.scores[unit].shape)
    off = Deactivation.of({unit: places})
    label = "it" if len(places) == 1 else f"these {len(places):,}"
    links = [
        dcc.Link(
            f"Switch {label} off in {which}",
            href=write(s.run.id, View(s.choice.method, unit, off)),
            className="link-button",
        )
        for which, s in (here, there)
    ]
    return html.Div(links, className="link-row")
