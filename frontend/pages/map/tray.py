"""The deactivation tray: what is switched off, and what that does to the accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from frontend.address import Ranked
from frontend.map_cache import Maps
from frontend.pages.map import curve, display_controls, groups, treatment
from frontend.pages.map.trial_view import intact_view, trial_view
from frontend.pages.shared import empty_states
from frontend.selection import chosen
from modelshapley import client, formatting
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Off, Run, Trial, TrialRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import Deactivation, Treatment, UnitKind, UnitShapes, extreme_units

PRECISIONS = {"all": "Measure all", "0.05": "Stop at ±5 pts", "0.02": "Stop at ±2 pts", "0.01": "Stop at ±1 pts"}
SHARE = 0.2  # that the slider offers at first
VERBS = {"off": "Switch off", "scale": "Scale", "mean": "Hold at their mean", "offset": "Offset"}


def layout(run: Run, treated: Treatment, ranked: Mapping[str, Any] | None) -> Any:
    """The tray of a finished run; it starts at the intact accuracy. ranked: the share that a link switches off."""
    assert run.intact is not None
    figures = [
        dmc.Title("Accuracy", order=2, size="h4"),
        html.Div(intact_view(run.intact), id="tray-figures", className="tray-figures", **{"aria-live": "polite"}),
        html.Div(
            dmc.Button("Measure all", id="measure-all", variant="light", size="compact-sm"),
            id="early",
            hidden=True,
        ),
        html.Div(id="tray-problem"),
    ]
    stores = [
        dcc.Store(id="settled"),
        dcc.Store(id="trial"),
        dcc.Store(id="answered"),
        dcc.Store(id="connection", data="ok"),
        dcc.Store(id="ranked"),
        dcc.Store(id="taken"),
        dcc.Store(id="drawn"),
        html.Div(id="followed", hidden=True),
    ]
    return html.Aside(
        [
            *stores,
            dmc.Paper(
                html.Div([html.Div(figures), html.Div(_controls(treated, ranked or {}))], className="tray-body"),
                withBorder=True,
                p="md",
                radius="md",
            ),
        ],
        className="tray",
        **{"aria-label": "Switched-off units and their accuracy"},
    )


def _controls(treated: Treatment, ranked: Mapping[str, Any]) -> list[Any]:
    which, share = ranked.get("which", "least"), round(100 * ranked.get("fraction", SHARE))
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
        treatment.layout(treated),
        dmc.Divider(my="sm"),
        dmc.Group(
            [
                dmc.Text("Choose the", size="sm"),
                dmc.SegmentedControl(
                    id="which", data=["least", "most"], value=which, size="xs", **{"aria-label": "least or most"}
                ),
                dmc.Text("important", size="sm"),
            ],
            gap=8,
        ),
        html.Div(
            dmc.Slider(
                id="share",
                value=share,
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
        curve.layout(),
        dmc.Group(
            [
                dmc.Text("Precision", size="sm", id="precision-label"),
                dmc.Select(
                    id="precision",
                    data=[{"value": value, "label": label} for value, label in PRECISIONS.items()],
                    value="all",
                    allowDeselect=False,
                    size="xs",
                    w=150,
                    **{"aria-label": "Precision"},
                ),
            ],
            justify="space-between",
            mt="sm",
        ),
        groups.layout(),
    ]


def register(app: Dash, api: AsyncClient, maps: Maps) -> None:
    @app.callback(
        Output("apply", "children"),
        Input("share", "value"),
        Input("unit", "value"),
        Input("how", "value"),
        State("run", "data"),
    )
    async def _label(share: int, unit: str, how: str, data: Any) -> str:
        kind, run = UnitKind(unit), Run.model_validate(data)
        units = UnitShapes.from_dict(run.shapes, run.layout.ragged).count(kind)
        return f"{VERBS[how]} {share} %: {formatting.counted(kind, int(np.floor(share / 100 * units + 0.5)))}"

    @app.callback(
        Output("ranked", "data"),
        Output("tray-problem", "children", allow_duplicate=True),
        Input("apply", "n_clicks"),
        Input("which", "value"),
        Input("share", "value"),
        State("selection", "data"),
        State("unit", "value"),
        State("reading", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _rank(
        clicks: int | None, which: str, share: int, selection: Any, unit: str, method: str, data: Any
    ) -> Any:
        following = (selection.get("ranked") or {}).get("unit") == unit
        if ctx.triggered_id != "apply" and not following:
            return no_update, no_update  # the slider switches off once a share of these units is off already
        ranked = Ranked(which, share / 100, UnitKind(unit), method)
        try:
            off = await ranked_units(maps, data["id"], ranked)
        except ModelShapleyError as error:
            return no_update, empty_states.failure(error)
        how = {"which": which, "fraction": ranked.fraction, "unit": unit, "method": method}
        units = [list(u) for u in off.of_kind(ranked.unit)]
        return {"unit": unit, "units": units, "how": how, "click": [clicks, share, which]}, None

    @app.callback(
        Output("answered", "data"),
        Output("trial", "data"),
        Output("tray-problem", "children"),
        Output("tray-figures", "children", allow_duplicate=True),
        Input("settled", "data"),
        State("run", "data"),
        prevent_initial_call=True,
        websocket=True,
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
                return answer, no_update, empty_states.trying_again(error), no_update
            return {"number": number}, None, empty_states.failure(error), no_update
        return {"number": number}, trial.model_dump(mode="json"), None, no_update

    @app.callback(
        Output("tray-figures", "children"),
        Output("drawn", "data"),
        Input("trial", "data"),
        Input("connection", "data"),
        Input("reading", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _show(data: Any, connection: str, reading: str, run: Any) -> Any:
        if data is None:
            return no_update, no_update
        trial, intact = Trial.model_validate(data), Run.model_validate(run).intact
        assert intact is not None
        return trial_view(trial, intact, connection == "lost", reading), f"{trial.id} {trial.sequence}"

    groups.register(app, api)
    curve.register(app, api)
    app.clientside_callback(
        ClientsideFunction("page", "tell"),
        Output("tray-off", "children"),
        Output("undo", "disabled"),
        Output("reset", "disabled"),
        Output("tray-link", "children"),
        Output("treatment-words", "children"),
        Output("factor-frame", "style"),
        Output("offset-frame", "style"),
        Input("selection", "data"),
        Input("history", "data"),
        Input("reading", "data"),
        Input("unit", "value"),
        Input("how", "value"),
        *display_controls.INPUTS,
    )
    app.clientside_callback(
        ClientsideFunction("page", "settle"),
        Output("tray-figures", "className", allow_duplicate=True),
        Input("selection", "data"),
        Input("precision", "value"),
        Input("measure-all", "n_clicks"),
        prevent_initial_call="initial_duplicate",
    )
    app.clientside_callback(
        ClientsideFunction("page", "present"),
        Output("tray-figures", "className"),
        Output("early", "hidden"),
        Input("trial", "data"),
        Input("answered", "data"),
        Input("drawn", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(ClientsideFunction("page", "drawn"), Output("followed", "title"), Input("drawn", "data"))
    app.clientside_callback(
        ClientsideFunction("page", "follow"), Output("followed", "children"), Input("trial", "data")
    )


async def ranked_units(maps: Maps, run_id: str, ranked: Ranked) -> Deactivation:
    """The units that a share of the ranking means. Raises ModelShapleyError."""
    found = await maps.get(run_id, ranked.method, ranked.unit)
    return extreme_units(found.scores.reshape(found.shape), ranked.unit, ranked.which, ranked.fraction)


def passing(error: ModelShapleyError) -> bool:
    """Whether the same request may well succeed in a moment: no answer, or a server in trouble."""
    return not isinstance(error, ApiError) or error.problem.status >= 500


def trial_request(run_id: str, selection: dict[str, Any]) -> TrialRequest | None:
    """The request for what the page holds; None where nothing is switched off."""
    off = chosen(selection)
    if not len(off):
        return None
    return TrialRequest(
        run=run_id,
        off=Off.from_deactivation(off),
        treatment=off.treatment,
        half_width=selection.get("half_width"),
        session=selection.get("session"),
    )
