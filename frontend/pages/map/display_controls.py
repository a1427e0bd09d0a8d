"""How the map is looked at: colours, order, one class of examples, a part of the neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, dcc, html

from frontend.display import Display
from frontend.figures.panels import MOST, SORTABLE
from modelshapley.contracts import Run
from modelshapley.units import UnitKind

COLOURS = [("score", "Score"), ("share", "Share of total"), ("percentile", "Percentile")]
INPUTS = (
    Input("colour", "value"),
    Input("log", "checked"),
    Input("sorted", "checked"),
    Input("class", "value"),
)
KEYS = (
    "On the map: arrow keys move, Space switches a cell, Enter tells about its unit, Page up and Page down change "
    "the panel, + and − look closer, u undoes."
)


def of(colour: str, log: bool, ordered: bool) -> Display:
    return Display(colour, bool(log), bool(ordered))  # type: ignore[arg-type]  # the control offers nothing else


def layout(run: Run, display: Display, label: str | None) -> Any:
    labels = [{"value": "", "label": "all examples"}] + [
        {"value": name, "label": f"{name} (n {n})"} for name, n in run.classes.items()
    ]
    sortable = any(_units(run, kind) <= SORTABLE for kind in run.units if kind is not UnitKind.LAYER)
    return dmc.Group(
        [
            dmc.SegmentedControl(
                id="colour",
                data=[{"value": value, "label": words} for value, words in COLOURS],
                value=display.colour,
                size="xs",
                **{"aria-label": "What the colour says"},
            ),
            dmc.Switch(id="log", label="log colours", checked=display.log, size="xs"),
            dmc.Switch(
                id="sorted",
                label="sort within layer",
                checked=display.ordered,
                size="xs",
                disabled=not sortable,
            ),
            html.Div(
                dmc.Select(
                    id="class",
                    data=labels,
                    value=label or "",
                    allowDeselect=False,
                    searchable=len(labels) > 12,
                    size="xs",
                    w=190,
                    **{"aria-label": "Examples that the map is of"},
                ),
                style={} if run.classes else {"display": "none"},
            ),
            html.Div(_zoom(), className="zoom", hidden=not _wide(run)),
        ],
        gap="md",
        mt="sm",
    )


def stores() -> Sequence[Any]:
    return [dcc.Store(id="touched"), dcc.Store(id="focus")]


def register(app: Dash) -> None:
    app.clientside_callback(
        ClientsideFunction("page", "zoom"),
        Output("zoom-in", "title"),
        *(Input(f"zoom-{what}", "n_clicks") for what, _, _ in BUTTONS),
        prevent_initial_call=True,
    )


BUTTONS = [
    ("left", "◂", "Go left"),
    ("out", "−", "Look from further away"),
    ("in", "+", "Look closer"),
    ("right", "▸", "Go right"),
    ("all", "all", "See all"),
]


def _zoom() -> Any:
    buttons = [
        dmc.Button(sign, id=f"zoom-{what}", size="compact-xs", variant="default", **{"aria-label": words})
        for what, sign, words in BUTTONS
    ]
    return dmc.Group(
        [html.Span("Widest panel", className="quiet"), dmc.ButtonGroup(buttons)],
        gap=6,
        **{"aria-label": "Look closer at the widest panel"},
    )


def _units(run: Run, kind: UnitKind) -> int:
    layers, *width = run.shapes[kind]
    return layers * (width[0] if width else 1)


def _wide(run: Run) -> bool:
    return any(
        len(run.shapes[kind]) > 1 and run.shapes[kind][1] > MOST // 4 for kind in run.units if kind is not UnitKind.ROW
    )
