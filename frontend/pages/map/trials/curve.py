"""The tray's curve: accuracy against the share of units that is off; it fills in as the slider moves."""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State, dcc, html, no_update

from frontend.figures import trial_curve
from frontend.pages.shared.wiring import Callbacks
from frontend.selection import deactivation_of
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import CurvePoint, Run, Status, Trial
from modelshapley.errors import ModelShapleyError
from modelshapley.units import OFF

callbacks = Callbacks()


def layout() -> Any:
    """Lay out the curve, without points."""
    return html.Details(
        [
            html.Summary("Accuracy by share removed"),
            dcc.Store(id="curve-points", storage_type="session"),
            dcc.Store(id="curve-figure"),
            html.Div(
                dcc.Graph(
                    id="curve-graph", config={"displayModeBar": False, "showSendToCloud": False}, style={"height": 170}
                ),
                style={"minHeight": 170},
            ),
            html.Div(id="curve-text", className="quiet", style={"minHeight": 40}),
        ],
        id="curve",
        className="section",
        open=True,
    )


@callbacks.server(
    Output("curve-points", "data"),
    Input("trial", "data"),
    State("selection", "data"),
    State("curve-points", "data"),
    prevent_initial_call=True,
)
async def remember_trial(data: Any, selection: Any, points: Any) -> Any:
    """Add a finished trial to the curve, if it is of the share that the slider selects."""
    ranked = (selection or {}).get("ranked")
    if data is None or not ranked:
        return no_update
    trial = Trial.model_validate(data)
    # The selection may have changed since this trial was submitted.
    current = trial.treatment == OFF and trial.off.deactivation().key() == deactivation_of(selection).key()
    if trial.status is not Status.DONE or trial.accuracy is None or not current:
        return no_update
    return trial_curve.remembered(points or [], ranked, trial)


@callbacks.server(
    Output("curve-figure", "data"),
    Output("curve-text", "children"),
    Input("curve-points", "data"),
    Input("reading", "data"),
    Input("unit", "value"),
    Input("which", "value"),
    State("selection", "data"),
    State("run", "data"),
)
async def draw_curve(
    points: Any, method: str, unit: str, which: str, selection: Any, data: Any, *, api: AsyncClient
) -> Any:
    """Draw the curve of this ranking: past trials, and what the run's check measured."""
    run = Run.model_validate(data)
    assert run.intact is not None
    ranked = (selection or {}).get("ranked")
    trials = trial_curve.points_of(points or [], run.id, method, unit, which)
    checked = await _checked(api, run, method, unit, which)
    share = ranked["fraction"] if ranked and ranked["method"] == method and ranked["unit"] == unit else None
    return trial_curve.figure(trials, checked, run.intact, share), trial_curve.sentence(trials, checked)


callbacks.browser(
    "page",
    "themed",
    Output("curve-graph", "figure"),
    Input("curve-figure", "data"),
    Input("theme", "data"),
)


async def _checked(api: AsyncClient, run: Run, method: str, unit: str, which: str) -> list[CurvePoint]:
    """Fetch what the run's check measured of this ranking; nothing where there is no check."""
    if run.checks is None:
        return []
    try:
        report = await api.send(client.faithfulness(run.id))
    except ModelShapleyError:
        return []  # the line about trust shows the error; the trials are drawn anyway
    entry = next((e for e in report.maps if (e.method, e.unit.value) == (method, unit)), None)
    curve = entry and (entry.least if which == "least" else entry.most)
    return list(curve.points) if curve else []
