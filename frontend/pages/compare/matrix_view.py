"""More than two maps: the matrix of their rank correlations, and small multiples, from arrays to components."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import dash_mantine_components as dmc
from dash import html

from frontend.pages.compare import multiples
from frontend.pages.compare.pair import Side
from frontend.pages.shared import drawing
from modelshapley import formatting
from modelshapley.maps.compare import differences
from modelshapley.maps.rank_matrix import RankMatrix
from modelshapley.units import UnitKind

CONDITIONS = {
    "model": "model",
    "revision": "files of the model",
    "task": "task",
    "task_fingerprint": "examples",
    "seed": "seed",
    "n": "number of examples",
    "class": "class",
    "half": "half of the examples",
    "method": "method",
    "dtype": "precision",
}
STRONGEST_SHADE = 58  # percent of the colour; more would leave too little contrast to the number


def view(sides: Sequence[Side], matrix: RankMatrix, places: Sequence[int], pair: tuple[int, int]) -> list[Any]:
    """Lay out what several maps have in common.

    sides: the maps that can be compared, as `matrix` names them. places: their slots on the page. pair: the slots of
    the two maps in detail.
    """
    return [
        dmc.Paper(
            [
                html.H2("Do the rankings agree?", className="card-title"),
                html.Div(_about(sides, matrix.kind), className="quiet"),
                _table(matrix, places, pair) if len(sides) > 1 else None,
                _refused(matrix),
            ],
            withBorder=True,
            p="md",
            radius="md",
            mt="md",
        ),
        _multiples(sides, matrix.kind) if len(sides) > 1 else None,
    ]


def _about(sides: Sequence[Side], kind: UnitKind) -> str:
    """Say what the numbers are, and which conditions differ between the maps."""
    if len(sides) < 2:
        return (
            f"No two of these maps have the same shape, so no rankings of {formatting.PLURALS[kind]} can be compared."
        )
    differing = {name for one, other in combinations(sides, 2) for name in differences(one.map, other.map)}
    told = [words for name, words in CONDITIONS.items() if name in differing]
    conditions = f" The maps differ in: {', '.join(told)}." if told else ""
    return (
        f"Spearman's ρ of each two rankings of {formatting.PLURALS[kind]}. Choose a number to see this pair in "
        f"detail.{conditions}"
    )


def _table(matrix: RankMatrix, places: Sequence[int], pair: tuple[int, int]) -> Any:
    head = html.Tr([html.Td(), *(html.Th(html.Span(name), scope="col") for name in matrix.names)])
    rows = []
    for row, name in enumerate(matrix.names):
        cells = [_cell(matrix, row, column, (places[row], places[column]), pair) for column in range(len(matrix.names))]
        rows.append(html.Tr([html.Th(name, scope="row"), *cells]))
    return html.Div(
        html.Table([html.Thead(head), html.Tbody(rows)], className="matrix cards", id="rho-matrix"),
        className="scroll-x",
    )


def _cell(matrix: RankMatrix, row: int, column: int, slots: tuple[int, int], pair: tuple[int, int]) -> Any:
    """A correlation as a button that opens the pair; a map with itself is only a number."""
    rho = matrix.rho[row][column]
    other = matrix.names[column]
    text = "unknown" if rho is None else formatting.signed(rho)
    if row == column:
        return html.Td(text, className="same", **{"data-label": other})
    shade = 0 if rho is None else round(STRONGEST_SHADE * abs(rho))
    button = html.Button(
        text,
        id={"type": "compare-cell", "pair": f"{slots[0]}-{slots[1]}"},
        className="negative" if rho is not None and rho < 0 else "positive",
        style={"--shade": f"{shade}%"},
        title="One of the maps is constant." if rho is None else None,
        **{
            "aria-pressed": "true" if set(slots) == set(pair) else "false",
            "aria-label": f"{matrix.names[row]} and {other}: ρ {text}",
        },
    )
    return html.Td(button, className="upper" if column > row else "", **{"data-label": other})


def _refused(matrix: RankMatrix) -> Any:
    if not matrix.refused:
        return None
    lines = [html.Li(f"{name}: {reason}.") for name, reason in matrix.refused.items()]
    return dmc.Alert(
        html.Ul(lines, className="plain-list"),
        title="Left out",
        color="yellow",
        variant="light",
        mt="sm",
        id="compare-refused",
    )


def _multiples(sides: Sequence[Side], kind: UnitKind) -> Any:
    figures = multiples.figures(sides, kind)
    panels = [
        html.Div(
            [
                html.H3(side.name, className="multiple-title"),
                drawing.graph(f"compare-multiple-{number}", figure, f"Map of {side.name}"),
            ],
            className="multiple",
        )
        for number, (side, figure) in enumerate(zip(sides, figures, strict=True))
    ]
    about = "Colour: share of the total, %. All maps have the same colour scale."
    return dmc.Paper(
        [
            html.H2("The maps", className="card-title"),
            html.Div(about, className="quiet"),
            html.Div(panels, className="multiples"),
        ],
        withBorder=True,
        p="md",
        radius="md",
        mt="md",
    )
