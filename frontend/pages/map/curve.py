"""The tray's curve: accuracy against the share that is off, which fills in as the slider moves."""

from __future__ import annotations

from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from frontend.figures import trial_curve
from frontend.selection import chosen
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import CurvePoint, Run, Status, Trial
from modelshapley.errors import ModelShapleyError
from modelshapley.units import OFF


def layout() -> Any:
    return html.Details(
        [
            html.Summary("Accuracy by share"),
            dcc.Store(id="curve-points", storage_type="session"),
            dcc.Store(id="curve-figure"),
            html.Div(
                dcc.Graph(id="curve-graph", config={"displayModeBar": False}, style={"height": 170}),
                style={"minHeight": 170},
            ),
            html.Div(id="curve-words", className="quiet", style={"minHeight": 40}),
        ],
        id="curve",
        className="section",
        open=True,
    )


def register(app: Dash, api: AsyncClient) -> None:
    @app.callback(
        Output("curve-points", "data"),
        Input("trial", "data"),
        State("selection", "data"),
        State("curve-points", "data"),
        prevent_initial_call=True,
    )
    async def _remember(data: Any, selection: Any, points: Any) -> Any:
        ranked = (selection or {}).get("ranked")
        if data is None or not ranked:
            return no_update
        trial = Trial.model_validate(data)
        mine = trial.treatment == OFF and trial.off.deactivation().key() == chosen(selection).key()
        if trial.status is not Status.DONE or trial.accuracy is None or not mine:
            return no_update
        return trial_curve.remembered(points or [], ranked, trial)

    @app.callback(
        Output("curve-figure", "data"),
        Output("curve-words", "children"),
        Input("curve-points", "data"),
        Input("reading", "data"),
        Input("unit", "value"),
        Input("which", "value"),
        State("selection", "data"),
        State("run", "data"),
    )
    async def _draw(points: Any, method: str, unit: str, which: str, selection: Any, data: Any) -> Any:
        run = Run.model_validate(data)
        assert run.intact is not None
        ranked = (selection or {}).get("ranked")
        tried = trial_curve.of(points or [], run.id, method, unit, which)
        checked = await _checked(api, run, method, unit, which)
        now = ranked["fraction"] if ranked and ranked["method"] == method and ranked["unit"] == unit else None
        return trial_curve.figure(tried, checked, run.intact, now), trial_curve.sentence(tried, checked)

    app.clientside_callback(
        ClientsideFunction("page", "plain"),
        Output("curve-graph", "figure"),
        Input("curve-figure", "data"),
        Input("theme", "data"),
    )


async def _checked(api: AsyncClient, run: Run, method: str, unit: str, which: str) -> list[CurvePoint]:
    """The curve of the run's check for this ranking, as far as there is one."""
    if run.checks is None:
        return []
    try:
        report = await api.send(client.faithfulness(run.id))
    except ModelShapleyError:
        return []  # the line about trust says what is wrong; the points that were tried are drawn all the same
    entry = next((e for e in report.maps if (e.method, e.unit.value) == (method, unit)), None)
    found = entry and (entry.least if which == "least" else entry.most)
    return list(found.points) if found else []
