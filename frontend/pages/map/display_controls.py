"""Controls of the map's display: colours, order, class of examples, zoom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, dcc, html

from frontend.display import Display
from frontend.figures.panels import MOST, SORTABLE
from frontend.pages.shared.info import info
from frontend.pages.shared.wiring import Callbacks
from modelshapley.contracts import Run
from modelshapley.units import UnitKind

callbacks = Callbacks()

COLOURS = [("score", "Score"), ("share", "Share of total"), ("percentile", "Percentile")]
INPUTS = (
    Input("colour", "value"),
    Input("log", "checked"),
    Input("sorted", "checked"),
    Input("class", "value"),
)
KEYS = (
    "Keys on the map: arrows move, Space switches a cell, Enter shows its unit, Page up and Page down change the "
    "panel, + and − zoom, u undoes."
)
COLOURS_TEXT = (
    "Score: the method's own quantity. Share of total: of all units of the panel. Percentile: the rank among them. Log "
    "colours separate small scores; sorting puts each layer's most important unit first."
)
BUTTONS = [
    ("left", "◂", "Pan left"),
    ("out", "−", "Zoom out"),
    ("in", "+", "Zoom in"),
    ("right", "▸", "Pan right"),
    ("all", "all", "Show all"),
]


def display_of(colour: str, log: bool, ordered: bool) -> Display:
    """Return what the controls are set to."""
    return Display(colour, bool(log), bool(ordered))  # type: ignore[arg-type]  # the control offers nothing else


def layout(run: Run, display: Display, label: str | None) -> Any:
    """Lay out the controls as an address sets them. label: the class of examples."""
    labels = [{"value": "", "label": "all examples"}] + [
        {"value": name, "label": f"{name} (n {n})"} for name, n in run.classes.items()
    ]
    sortable = any(_count(run, kind) <= SORTABLE for kind in run.units if kind is not UnitKind.LAYER)
    return dmc.Group(
        [
            dmc.SegmentedControl(
                id="colour",
                data=[{"value": value, "label": words} for value, words in COLOURS],
                value=display.colour,
                size="xs",
                **{"aria-label": "Quantity of the colour scale"},
            ),
            info("Colours", COLOURS_TEXT),
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
                    **{"aria-label": "Class of examples"},
                ),
                style={} if run.classes else {"display": "none"},
            ),
            html.Div(_zoom_buttons(), className="zoom", hidden=not _zoomable(run)),
        ],
        gap="md",
        mt="sm",
    )


def stores() -> Sequence[Any]:
    """Stores for the selection as clicks have left it, and for the unit that has the focus."""
    return [dcc.Store(id="touched"), dcc.Store(id="focus")]


callbacks.browser(
    "page",
    "zoom",
    Output("zoom-in", "title"),
    *(Input(f"zoom-{what}", "n_clicks") for what, _, _ in BUTTONS),
    prevent_initial_call=True,
)


def _zoom_buttons() -> Any:
    buttons = [
        dmc.Button(sign, id=f"zoom-{action}", size="compact-xs", variant="default", **{"aria-label": label})
        for action, sign, label in BUTTONS
    ]
    return dmc.Group(
        [html.Span("Zoom neurons", className="quiet"), dmc.ButtonGroup(buttons)],
        gap=6,
        **{"aria-label": "Zoom neurons"},
    )


def _count(run: Run, kind: UnitKind) -> int:
    layers, *width = run.shapes[kind]
    return layers * (width[0] if width else 1)


def _zoomable(run: Run) -> bool:
    """Whether a panel has more units in a layer than it can draw at a legible width."""
    return any(
        len(run.shapes[kind]) > 1 and run.shapes[kind][1] > MOST // 4 for kind in run.units if kind is not UnitKind.ROW
    )
