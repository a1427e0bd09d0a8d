"""How many units matter: a part of the map page that unfolds, with a threshold to drag."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from frontend.figures import count_charts
from frontend.map_cache import Maps
from frontend.pages.shared import empty_states
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind


def layout() -> Any:
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
                    html.Div(id="counts-words", role="status"),
                ],
                align="flex-end",
                mb="xs",
            ),
            html.Div("Drag the line, or type a threshold.", className="quiet"),
            dcc.Graph(
                id="counts-graph",
                config={"displayModeBar": False, "edits": {"shapePosition": True}},
                style={"minHeight": 240},
            ),
        ],
        id="counts",
        className="section",
    )


def register(app: Dash, maps: Maps) -> None:
    @app.callback(
        Output("counts-figure", "data"),
        Output("counts-words", "children"),
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
    async def _count(
        opened: bool, method: str, unit: str, label: str, typed: Any, dragged: Any, before: str | None, data: Any
    ) -> Any:
        if not opened:
            return [no_update] * 4
        try:
            found = await maps.get(data["id"], method, UnitKind(unit), label or None)
        except ModelShapleyError as error:
            return no_update, empty_states.failure(error), no_update, no_update
        now = f"{method} {unit} {label}"
        line = (dragged or {}).get("shapes[0].x0") if ctx.triggered_id == "counts-graph" else None
        if ctx.triggered_id == "counts-graph" and line is None:
            return [no_update] * 4  # it was drawn, nothing was dragged
        threshold = count_charts.suggested(found) if now != before else line if line is not None else typed
        if not isinstance(threshold, int | float):
            return no_update, "Type a number.", no_update, now
        rounded = float(f"{threshold:.4g}")
        value = no_update if rounded == typed else rounded
        return count_charts.figure(found, rounded), count_charts.sentence(found, rounded), value, now

    app.clientside_callback(
        ClientsideFunction("page", "plain"),
        Output("counts-graph", "figure"),
        Input("counts-figure", "data"),
        Input("theme", "data"),
    )
