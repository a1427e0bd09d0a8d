"""The section "How many units matter": the number of units above a threshold, which can be dragged."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, ctx, dcc, html, no_update

from frontend.figures import count_charts
from frontend.map_cache import MapCache
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

callbacks = Callbacks()


def layout() -> Any:
    """Lay out the closed section; its chart is drawn when it is opened."""
    return html.Details(
        [
            html.Summary("How many units matter"),
            dcc.Store(id="counts-open", data=False),
            dcc.Store(id="counts-figure"),
            dcc.Store(id="counts-of"),
            dmc.Group(
                [
                    dmc.NumberInput(
                        id="threshold",
                        label="Threshold",
                        size="xs",
                        w=140,
                        decimalScale=9,
                        hideControls=True,
                        debounce=300,
                    ),
                    html.Div(id="counts-text", role="status"),
                ],
                align="flex-end",
                mb="xs",
            ),
            html.Div("Drag the line, or enter a threshold.", className="quiet"),
            dcc.Graph(
                id="counts-graph",
                config={"displayModeBar": False, "showSendToCloud": False, "edits": {"shapePosition": True}},
                style={"minHeight": 240},
            ),
        ],
        id="counts",
        className="section",
    )


@callbacks.server(
    Output("counts-figure", "data"),
    Output("counts-text", "children"),
    Output("threshold", "value"),
    Output("counts-of", "data"),
    Input("counts-open", "data"),
    Input("reading", "data"),
    Input("unit", "value"),
    Input("class", "value"),
    Input("threshold", "value"),
    Input("counts-graph", "relayoutData"),
    State("counts-of", "data"),
    State("run", "data"),
)
async def count_units(  # one callback, since the threshold is both its input and its output
    opened: bool,
    method: str,
    unit: str,
    label: str,
    typed: Any,
    dragged: Any,
    drawn_key: str | None,
    data: Any,
    *,
    maps: MapCache,
) -> Any:
    """Count the units that reach a threshold: the one that was typed or dragged, or a suggested one for a new map."""
    if not opened:
        return [no_update] * 4
    try:
        plane = await maps.get(data["id"], method, UnitKind(unit), label or None)
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error), no_update, no_update
    key = f"{method} {unit} {label}"
    line = (dragged or {}).get("shapes[0].x0") if ctx.triggered_id == "counts-graph" else None
    if ctx.triggered_id == "counts-graph" and line is None:
        return [no_update] * 4  # the figure fires when it is drawn, too; nothing was dragged
    threshold = count_charts.suggested(plane) if key != drawn_key else line if line is not None else typed
    if not isinstance(threshold, int | float):
        return no_update, "Enter a number.", no_update, key
    rounded = float(f"{threshold:.4g}")
    value = no_update if rounded == typed else rounded  # writing the same value would fire the callback again
    return count_charts.figure(plane, rounded), count_charts.sentence(plane, rounded), value, key


callbacks.browser(
    "page",
    "themed",
    Output("counts-graph", "figure"),
    Input("counts-figure", "data"),
    Input("theme", "data"),
)
