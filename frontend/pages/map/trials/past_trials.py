"""The section "Past trials": all trials of this run, by anyone, and how well the map predicted them."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.figures import scatter
from frontend.pages.shared import empty_states, tables
from frontend.pages.shared.wiring import Callbacks
from frontend.selection import as_selection
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Status, Trial
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import parse_method, reading_of

callbacks = Callbacks()

TICK_MS = 2000
MOST_TRIALS = 60
STATUS_TEXTS = {Status.QUEUED: "waiting", Status.RUNNING: "measuring", Status.FAILED: "failed"}
EMPTY = "No trials yet. Switch units off on the map; the results are listed here for everyone."


def layout() -> Any:
    """Lay out the closed section; its list is fetched when it is opened."""
    return html.Details(
        [
            html.Summary("Past trials"),
            dcc.Interval(id="shared-tick", interval=TICK_MS),
            dcc.Store(id="past-trials-request"),
            dcc.Store(id="past-trials-busy", data=False),
            dcc.Store(id="past-trials-seen"),
            dcc.Store(id="predicted-figure"),
            html.Div(id="past-trials-problem"),
            html.Div(
                [
                    html.Div(
                        "Loading …",
                        id="past-trials-list",
                        className="top-table",
                        tabIndex=0,
                        role="region",
                        **{"aria-label": "Trials of this run"},
                    ),
                    html.Div(
                        [
                            dmc.Title("Predicted vs. measured", order=3, size="h5"),
                            html.Div(id="predicted-text", className="quiet"),
                            html.Div(
                                dcc.Graph(
                                    id="predicted-graph", config={"displayModeBar": False, "showSendToCloud": False}
                                ),
                                id="predicted-frame",
                                hidden=True,
                            ),
                        ]
                    ),
                ],
                className="past-trials-grid",
            ),
        ],
        id="past-trials",
        className="section",
    )


callbacks.browser(
    "page",
    "pastTrialsDue",
    Output("past-trials-request", "data"),
    Input("shared-tick", "n_intervals"),
    State("past-trials-busy", "data"),
)


@callbacks.server(
    Output("past-trials-list", "children"),
    Output("predicted-figure", "data"),
    Output("predicted-text", "children"),
    Output("predicted-frame", "hidden"),
    Output("past-trials-seen", "data"),
    Output("past-trials-problem", "children"),
    Input("past-trials-request", "data"),
    Input("reading", "data"),
    State("trial", "data"),
    State("past-trials-seen", "data"),
    State("run", "data"),
    running=[(Output("past-trials-busy", "data"), True, False)],
    prevent_initial_call=True,
)
async def list_trials(
    requested: str | None, reading: str, current: Any, listed_key: str | None, run: Any, *, api: AsyncClient
) -> Any:
    """List the trials, and plot what was measured against what the map predicted."""
    unchanged = [no_update] * 5
    if requested is None:  # the section has not been opened yet
        return *unchanged, no_update
    try:
        trials = await api.send(client.run_trials(run["id"], MOST_TRIALS))
    except ModelShapleyError as error:
        return *unchanged, empty_states.trying_again(error)
    current_id = current["id"] if current else None
    key = f"{reading} {current_id} " + " ".join(f"{t.id}.{t.sequence}" for t in trials)
    if key == listed_key:
        return *unchanged, None
    resolved = reading_of(reading, run["methods"])
    computed = resolved.computed if resolved else reading
    points = scatter.points(trials, computed)
    figure = scatter.figure(points, parse_method(computed)[0].quantity, current_id)
    return table(trials, current_id), figure, scatter.sentence(points), not points, key, None


callbacks.browser(
    "page",
    "themed",
    Output("predicted-graph", "figure"),
    Input("predicted-figure", "data"),
    Input("theme", "data"),
)


@callbacks.server(
    Output("loaded", "data", allow_duplicate=True),
    Output("past-trials-problem", "children", allow_duplicate=True),
    Input({"type": "take", "trial": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def load_trial(_: Any, *, api: AsyncClient) -> Any:
    """Replace the selection with that of a past trial."""
    # A row fires when it is drawn, too; only one that was clicked carries a number.
    if not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
        return no_update, no_update
    try:
        trial = await api.send(client.trial(ctx.triggered_id["trial"]))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return {"units": as_selection(trial.off.deactivation()), "treatment": vars(trial.treatment)}, None


TITLES = ("Units", "Accuracy, 95 % interval", "Change, pts", "Examples")


def table(trials: list[Trial], current: str | None) -> Any:
    """List trials, newest first; the current one is marked."""
    if not trials:
        return html.Div(EMPTY, className="quiet")
    head = dmc.TableTr([dmc.TableTh(title, className="number" if n else "") for n, title in enumerate(TITLES)])
    rows = [
        dmc.TableTr([_units(trial), *_figures(trial)], className="current" if trial.id == current else "")
        for trial in trials
    ]
    return dmc.Table(
        [dmc.TableThead(head), dmc.TableTbody(rows)], highlightOnHover=True, verticalSpacing=4, className=tables.CARDS
    )


def _units(trial: Trial) -> Any:
    name = f"{trial.off.deactivation().describe()} {formatting.treated(trial.treatment)}"
    button = html.Button(
        name, id={"type": "take", "trial": trial.id}, className="plain-button", title="Load this selection"
    )
    return dmc.TableTd([button, html.Div(formatting.ago(trial.created), className="quiet")])


def _figure(value: str, below: str | None, title: str) -> Any:
    """A number, and what belongs to it below."""
    return tables.labelled(html.Div([value, html.Div(below, className="quiet") if below else None]), title)


def _figures(trial: Trial) -> list[Any]:
    n = f"{trial.n} of {trial.total}" if trial.n != trial.total or not trial.n else f"all {trial.n}"
    status = STATUS_TEXTS.get(trial.status)
    if trial.accuracy is None or trial.interval is None or trial.difference is None:
        return [dmc.TableTd(trial.error or status or "not measured", tableProps={"colSpan": 3}, className="quiet")]
    assert trial.difference_interval is not None
    low, high = (formatting.points(end).removesuffix(" pts") for end in trial.difference_interval)
    return [
        _figure(formatting.percent(trial.accuracy), formatting.percent_interval(trial.interval), TITLES[1]),
        _figure(formatting.points(trial.difference).removesuffix(" pts"), f"{low} to {high}", TITLES[2]),
        _figure(n, status, TITLES[3]),
    ]
