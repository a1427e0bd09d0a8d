"""Tried on this run: its trials, whoever asked for them, and how well the map predicted them."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from frontend.figures import scatter
from frontend.pages.shared import empty_states
from frontend.selection import held
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Status, Trial
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import parse_method, reading_of

TICK_MS = 2000
SHOWN = 60
STATUS_WORDS = {Status.QUEUED: "waiting", Status.RUNNING: "measuring", Status.FAILED: "failed"}
EMPTY = "Nothing has been tried yet. Switch units off, and what comes of it is kept here for everyone."


def layout() -> Any:
    return html.Details(
        [
            html.Summary("Tried on this run"),
            dcc.Interval(id="shared-tick", interval=TICK_MS),
            dcc.Store(id="tried-ask"),
            dcc.Store(id="tried-busy", data=False),
            dcc.Store(id="tried-seen"),
            dcc.Store(id="predicted-figure"),
            html.Div(id="tried-problem"),
            html.Div(
                [
                    html.Div(
                        "Reading what was tried …",
                        id="tried-list",
                        className="top-table",
                        tabIndex=0,
                        role="region",
                        **{"aria-label": "Trials of this run"},
                    ),
                    html.Div(
                        [
                            dmc.Title("Predicted against measured", order=3, size="h5"),
                            html.Div(id="predicted-words", className="quiet"),
                            html.Div(
                                dcc.Graph(id="predicted-graph", config={"displayModeBar": False}),
                                id="predicted-frame",
                                hidden=True,
                            ),
                        ]
                    ),
                ],
                className="tried-grid",
            ),
        ],
        id="tried",
        className="section",
    )


def register(app: Dash, api: AsyncClient) -> None:
    app.clientside_callback(
        ClientsideFunction("page", "triedDue"),
        Output("tried-ask", "data"),
        Input("shared-tick", "n_intervals"),
        State("tried-busy", "data"),
    )

    @app.callback(
        Output("tried-list", "children"),
        Output("predicted-figure", "data"),
        Output("predicted-words", "children"),
        Output("predicted-frame", "hidden"),
        Output("tried-seen", "data"),
        Output("tried-problem", "children"),
        Input("tried-ask", "data"),
        Input("reading", "data"),
        State("trial", "data"),
        State("tried-seen", "data"),
        State("run", "data"),
        running=[(Output("tried-busy", "data"), True, False)],
        prevent_initial_call=True,
    )
    async def _list(asked: str | None, reading: str, current: Any, seen: str | None, run: Any) -> Any:
        unchanged = [no_update] * 5
        if asked is None:  # not unfolded yet
            return *unchanged, no_update
        try:
            trials = await api.send(client.run_trials(run["id"], SHOWN))
        except ModelShapleyError as error:
            return *unchanged, empty_states.trying_again(error)
        here = current["id"] if current else None
        now = f"{reading} {here} " + " ".join(f"{t.id}.{t.sequence}" for t in trials)
        if now == seen:
            return *unchanged, None
        read = reading_of(reading, run["methods"])
        computed = read.computed if read else reading
        found = scatter.points(trials, computed)
        quantity = parse_method(computed)[0].quantity
        figure = scatter.figure(found, quantity, here)
        return table(trials, here), figure, scatter.sentence(found), not found, now, None

    app.clientside_callback(
        ClientsideFunction("page", "plain"),
        Output("predicted-graph", "figure"),
        Input("predicted-figure", "data"),
        Input("theme", "data"),
    )

    @app.callback(
        Output("taken", "data", allow_duplicate=True),
        Output("tried-problem", "children", allow_duplicate=True),
        Input({"type": "take", "trial": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
    async def _take(_: Any) -> Any:
        # A row that has just been drawn fires too; only one that was clicked carries a number.
        if not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
            return no_update, no_update
        try:
            trial = await api.send(client.trial(ctx.triggered_id["trial"]))
        except ModelShapleyError as error:
            return no_update, empty_states.failure(error)
        return {"units": held(trial.off.deactivation()), "treatment": vars(trial.treatment)}, None


def table(trials: list[Trial], current: str | None) -> Any:
    """Newest first; the trial in view is marked."""
    if not trials:
        return html.Div(EMPTY, className="quiet")
    titles = [
        ("Units", ""),
        ("Accuracy, 95 % interval", "number"),
        ("Change, pts", "number"),
        ("Examples", "number"),
    ]
    head = dmc.TableTr([dmc.TableTh(title, className=css) for title, css in titles])
    rows = [
        dmc.TableTr([_units(trial), *_figures(trial)], className="current" if trial.id == current else "")
        for trial in trials
    ]
    return dmc.Table([dmc.TableThead(head), dmc.TableTbody(rows)], highlightOnHover=True, verticalSpacing=4)


def _units(trial: Trial) -> Any:
    name = f"{trial.off.deactivation().describe()} {formatting.treated(trial.treatment)}"
    button = html.Button(
        name, id={"type": "take", "trial": trial.id}, className="plain-button", title="Take this into the tray"
    )
    return dmc.TableTd([button, html.Div(formatting.ago(trial.created), className="quiet")])


def _figures(trial: Trial) -> list[Any]:
    n = f"{trial.n} of {trial.total}" if trial.n != trial.total or not trial.n else f"all {trial.n}"
    told = STATUS_WORDS.get(trial.status)
    if trial.accuracy is None or trial.interval is None or trial.difference is None:
        return [dmc.TableTd(trial.error or told or "not measured", tableProps={"colSpan": 3}, className="quiet")]
    assert trial.difference_interval is not None
    low, high = (formatting.points(end).removesuffix(" pts") for end in trial.difference_interval)
    return [
        dmc.TableTd(
            [
                formatting.percent(trial.accuracy),
                html.Div(formatting.percent_interval(trial.interval), className="quiet"),
            ],
            className="number",
        ),
        dmc.TableTd(
            [
                formatting.points(trial.difference).removesuffix(" pts"),
                html.Div(f"{low} to {high}", className="quiet"),
            ],
            className="number",
        ),
        dmc.TableTd([n, html.Div(told, className="quiet") if told else None], className="number"),
    ]
