"""The deactivation tray: what is switched off, and what that does to the accuracy."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from frontend import words
from frontend.address import Ranked
from frontend.maps import Maps
from frontend.pages import states
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Measured, Off, Run, Status, Trial, TrialRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import Deactivation, UnitKind, UnitShapes, extreme_units


def layout(run: Run) -> Any:
    """The tray of a finished run; it starts at the intact accuracy."""
    assert run.intact is not None
    figures = [
        dmc.Title("Accuracy", order=2, size="h4"),
        html.Div(intact_view(run.intact), id="tray-figures", className="tray-figures", **{"aria-live": "polite"}),
        html.Div(id="tray-problem"),
    ]
    stores = [
        dcc.Store(id="settled"),
        dcc.Store(id="trial"),
        dcc.Store(id="answered"),
        dcc.Store(id="connection", data="ok"),
        dcc.Store(id="ranked"),
        html.Div(id="followed", hidden=True),
    ]
    return html.Aside(
        [
            *stores,
            dmc.Paper(
                html.Div([html.Div(figures), html.Div(_controls())], className="tray-body"),
                withBorder=True,
                p="md",
                radius="md",
            ),
        ],
        className="tray",
        **{"aria-label": "Switched-off units and their accuracy"},
    )


def _controls() -> list[Any]:
    buttons = [
        dmc.Button("Undo", id="undo", variant="default", size="compact-sm", disabled=True),
        dmc.Button("Reset", id="reset", variant="default", size="compact-sm", disabled=True),
    ]
    return [
        dmc.Group(
            [html.Div(id="tray-off", className="tray-off"), dmc.Group(buttons, gap=6, wrap="nowrap")],
            justify="space-between",
            wrap="nowrap",
            my="sm",
        ),
        html.Div(id="tray-link", className="quiet"),
        dmc.Divider(my="sm"),
        dmc.Group(
            [
                dmc.Text("Switch off the", size="sm"),
                dmc.SegmentedControl(
                    id="which", data=["least", "most"], value="least", size="xs", **{"aria-label": "least or most"}
                ),
                dmc.Text("important", size="sm"),
            ],
            gap=8,
        ),
        html.Div(
            dmc.Slider(
                id="share",
                value=20,
                min=0,
                max=100,
                step=1,
                updatemode="drag",
                size="sm",
                marks=[{"value": mark, "label": f"{mark} %"} for mark in (0, 25, 50, 75, 100)],
                thumbLabel="Share of the units to switch off, in percent",
            ),
            className="share",
        ),
        dmc.Button("Switch off", id="apply", variant="light", size="sm", fullWidth=True),
    ]


def register(app: Dash, api: AsyncClient, maps: Maps) -> None:
    @app.callback(
        Output("apply", "children"), Input("share", "value"), Input("unit", "value"), State("run", "data")
    )
    async def _label(share: int, unit: str, data: Any) -> str:
        kind, run = UnitKind(unit), Run.model_validate(data)
        units = UnitShapes.from_dict(run.shapes, run.layout.ragged).count(kind)
        return f"Switch off {share} %: {words.counted(kind, int(np.floor(share / 100 * units + 0.5)))}"

    @app.callback(
        Output("ranked", "data"),
        Output("tray-problem", "children", allow_duplicate=True),
        Input("apply", "n_clicks"),
        State("which", "value"),
        State("share", "value"),
        State("unit", "value"),
        State("reading", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _rank(clicks: int, which: str, share: int, unit: str, method: str, data: Any) -> Any:
        ranked = Ranked(which, share / 100, UnitKind(unit), method)
        try:
            off = await ranked_units(maps, data["id"], ranked)
        except ModelShapleyError as error:
            return no_update, states.failure(error)
        how = {"which": which, "fraction": ranked.fraction, "unit": unit, "method": method}
        units = [list(u) for u in off.of_kind(ranked.unit)]
        return {"unit": unit, "units": units, "how": how, "click": clicks}, None

    @app.callback(
        Output("answered", "data"),
        Output("trial", "data"),
        Output("tray-problem", "children"),
        Output("tray-figures", "children", allow_duplicate=True),
        Input("settled", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _measure(selection: Any, data: Any) -> Any:
        run, number = Run.model_validate(data), selection["number"]
        request = trial_request(run.id, selection)
        if request is None:
            assert run.intact is not None
            return {"number": number}, None, None, intact_view(run.intact)
        try:
            trial = await api.send(client.submit_trial(request))
        except ModelShapleyError as error:
            if passing(error):
                answer = {"number": number, "failed": selection["asked"]}
                return answer, no_update, states.trying_again(error), no_update
            return {"number": number}, None, states.failure(error), no_update
        return {"number": number}, trial.model_dump(mode="json"), None, no_update

    @app.callback(
        Output("tray-figures", "children"),
        Input("trial", "data"),
        Input("connection", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _show(data: Any, connection: str, run: Any) -> Any:
        if data is None:
            return no_update
        trial, intact = Trial.model_validate(data), Run.model_validate(run).intact
        assert intact is not None
        return trial_view(trial, intact, connection == "lost")

    app.clientside_callback(
        ClientsideFunction("page", "tell"),
        Output("tray-off", "children"),
        Output("undo", "disabled"),
        Output("reset", "disabled"),
        Output("tray-link", "children"),
        Input("selection", "data"),
        Input("history", "data"),
        Input("reading", "data"),
        Input("unit", "value"),
        State("run", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("page", "settle"),
        Output("tray-figures", "className", allow_duplicate=True),
        Input("selection", "data"),
        prevent_initial_call="initial_duplicate",
    )
    app.clientside_callback(
        ClientsideFunction("page", "present"),
        Output("tray-figures", "className"),
        Input("trial", "data"),
        Input("answered", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("page", "follow"), Output("followed", "children"), Input("trial", "data")
    )


_LOST = (html.Div("The connection was lost; trying again …", className="quiet"),)


async def ranked_units(maps: Maps, run_id: str, ranked: Ranked) -> Deactivation:
    """The units that a share of the ranking means. Raises ModelShapleyError."""
    found = await maps.get(run_id, ranked.method, ranked.unit)
    return extreme_units(np.array(found.scores).reshape(found.shape), ranked.unit, ranked.which, ranked.fraction)


def passing(error: ModelShapleyError) -> bool:
    """Whether the same request may well succeed in a moment: no answer, or a server in trouble."""
    return not isinstance(error, ApiError) or error.problem.status >= 500


def trial_request(run_id: str, selection: dict[str, Any]) -> TrialRequest | None:
    """The request for what the page holds; None where nothing is switched off."""
    off = Off(neuron=selection["neuron"], head=selection["head"], layer=[unit[0] for unit in selection["layer"]])
    if not len(off.deactivation()):
        return None
    return TrialRequest(run=run_id, off=off, session=selection.get("session"))


def intact_view(intact: Measured) -> Any:
    """Nothing is off: the intact model's accuracy."""
    return [
        html.Div(words.percent(intact.accuracy), className="figure-now", id="accuracy"),
        html.Div("the intact model", className="figure-change"),
        _strip(intact, intact.accuracy),
        html.Div(
            f"95 % interval {words.percent_interval(intact.interval)} · {intact.n} test examples",
            className="quiet",
        ),
        html.Div("Switch units off to see it move.", className="quiet"),
    ]


def trial_view(trial: Trial, intact: Measured, lost: bool) -> Any:
    """The accuracy now against the intact model on the same examples, or why there is none."""
    if trial.status is Status.FAILED:
        return dmc.Alert(trial.error or "It failed.", title="Not measured", color="red", variant="light")
    if trial.status is Status.CANCELLED:
        return dmc.Alert(f"Not measured: {trial.error or 'it was cancelled'}.", color="gray", variant="light")
    if trial.accuracy is None or trial.interval is None or trial.difference is None or trial.intact is None:
        waiting = "loading the model …" if trial.status is Status.RUNNING else "waiting for a worker …"
        return [*intact_view(intact)[:3], html.Div(waiting, className="quiet"), *(_LOST if lost else ())]
    now = Measured(accuracy=trial.accuracy, interval=trial.interval, n=trial.n)
    assert trial.difference_interval is not None
    counting = "measured on all" if trial.status is Status.DONE else f"{trial.n} of"
    lines = [
        html.Div(words.percent(now.accuracy), className="figure-now", id="accuracy"),
        html.Div(words.points(trial.difference), className="figure-change", id="difference"),
        html.Div(
            f"({words.points_interval(trial.difference_interval)}) against intact, same examples",
            className="quiet",
        ),
        _strip(now, trial.intact),
        html.Div(f"95 % interval {words.percent_interval(now.interval)}", className="quiet"),
        html.Div(f"intact {words.percent(trial.intact)} on these examples", className="quiet"),
        dmc.Progress(
            value=100 * trial.n / trial.total,
            size="xs",
            my=6,
            **{"aria-label": "share of the test examples measured"},
        ),
        html.Div(f"{counting} {trial.total} test examples", className="quiet", id="trial-n"),
    ]
    return [*lines, *(_LOST if lost else ())]


def _strip(now: Measured, intact: float) -> Any:
    """0 to 100 %: the interval as a band, the accuracy as a dot, the intact model as a line."""
    low, high = (100 * end for end in now.interval)
    marks = [
        html.Div(className="track"),
        html.Div(className="band", style={"left": f"{low:.1f}%", "width": f"{high - low:.1f}%"}),
        html.Div(className="intact", style={"left": f"{100 * intact:.1f}%"}, title="intact"),
        html.Div(className="now", style={"left": f"{100 * now.accuracy:.1f}%"}),
    ]
    return html.Div(
        [
            html.Div(marks, className="strip"),
            html.Div([html.Span("0 %"), html.Span("100 %")], className="strip-ends quiet"),
        ],
        **{"aria-hidden": "true"},
    )
