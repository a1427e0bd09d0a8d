"""The tray: which units are switched off, and the accuracy without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import Input, Output, State, ctx, dcc, html, no_update

from frontend.address import Ranked
from frontend.links import link
from frontend.map_cache import MapCache
from frontend.pages.map import display_controls, groups, treatment_controls
from frontend.pages.map.trials import curve
from frontend.pages.map.trials.trial_view import intact_view, trial_view
from frontend.pages.shared import empty_states
from frontend.pages.shared.info import info
from frontend.pages.shared.wiring import Callbacks
from frontend.selection import deactivation_of
from modelshapley import client, formatting
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Off, Run, Trial, TrialRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import Deactivation, Treatment, UnitKind, UnitShapes, extreme_units

callbacks = Callbacks()

PRECISIONS = {"all": "Measure all", "0.05": "Stop at ±5 pts", "0.02": "Stop at ±2 pts", "0.01": "Stop at ±1 pts"}
PRECISION_TEXT = (
    "Measure all test examples, or stop as soon as the 95 % interval of the accuracy is this narrow, which is quicker."
)
SHARE_TEXT = (
    "Switches off this share of the units, by the ranking of the map on the page. If the map is good, removing the "
    "least important costs little accuracy, and the most important much."
)
INITIAL_SHARE = 0.2  # of the slider
INTACT = "intact"  # what is rendered where there is no trial; assets/callbacks.js knows it, too
VERBS = {"off": "Switch off", "scale": "Scale", "mean": "Hold at mean", "offset": "Offset", "resample": "Patch"}


def layout(run: Run, treatment: Treatment, ranked: Mapping[str, Any] | None) -> Any:
    """Lay out the tray of a finished run, at its intact accuracy. ranked: the share that a link switches off."""
    assert run.intact is not None
    figures = [
        dmc.Title("Accuracy", order=2, size="h4"),
        html.Div(intact_view(run.intact), id="tray-figures", className="tray-figures", **{"aria-live": "polite"}),
        html.Div(id="tray-state", className="tray-state"),  # written by assets/live.js in the frame of a click
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
        dcc.Store(id="loaded"),
        dcc.Store(id="rendered", data=INTACT),
        html.Div(id="followed-trial", hidden=True),
    ]
    return html.Aside(
        [
            *stores,
            dmc.Paper(
                html.Div(
                    [
                        html.Div(figures),
                        html.Div(_controls(run.id, treatment, ranked or {}), className="tray-controls"),
                    ],
                    className="tray-body",
                ),
                withBorder=True,
                p="md",
                radius="md",
            ),
        ],
        className="tray",
        **{"aria-label": "Switched-off units and their accuracy"},
    )


def _controls(run_id: str, treatment: Treatment, ranked: Mapping[str, Any]) -> list[Any]:
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
        dcc.Link("Try your own input", href=link(f"/try?run={run_id}"), id="try-link", className="tray-try"),
        treatment_controls.layout(treatment),
        dmc.Divider(my="sm"),
        html.Div(_share_controls(ranked), className="share-controls"),
        curve.layout(),
        dmc.Group(
            [
                html.Div(
                    [
                        dmc.Text("Precision", size="sm", id="precision-label", span=True),
                        info("Precision", PRECISION_TEXT),
                    ]
                ),
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


def _share_controls(ranked: Mapping[str, Any]) -> list[Any]:
    """The slider that selects a share of the ranking, and its button."""
    which, share = ranked.get("which", "least"), round(100 * ranked.get("fraction", INITIAL_SHARE))
    return [
        dmc.Group(
            [
                dmc.Text("Select the", size="sm"),
                dmc.SegmentedControl(
                    id="which", data=["least", "most"], value=which, size="xs", **{"aria-label": "least or most"}
                ),
                dmc.Text("important", size="sm"),
                info("Select a share", SHARE_TEXT),
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
    ]


@callbacks.server(
    Output("apply", "children"),
    Input("share", "value"),
    Input("unit", "value"),
    Input("how", "value"),
    State("run", "data"),
)
async def label_apply_button(share: int, unit: str, how: str, data: Any) -> str:
    """Say on the button what it does, and to how many units."""
    kind, run = UnitKind(unit), Run.model_validate(data)
    units = UnitShapes.from_dict(run.shapes, run.layout.ragged).count(kind)
    return f"{VERBS[how]} {share} %: {formatting.counted(kind, int(np.floor(share / 100 * units + 0.5)))}"


@callbacks.server(
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
async def rank_units(
    clicks: int | None, which: str, share: int, selection: Any, unit: str, method: str, data: Any, *, maps: MapCache
) -> Any:
    """Select a share of the ranking: at every move of the slider and at a click on the button."""
    applied = (selection.get("ranked") or {}).get("unit") == unit
    if ctx.triggered_id == "which" and not applied:
        return no_update, no_update
    ranked = Ranked(which, share / 100, UnitKind(unit), method)
    try:
        off = await ranked_units(maps, data["id"], ranked)
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    how = {"which": which, "fraction": ranked.fraction, "unit": unit, "method": method}
    units = [list(u) for u in off.of_kind(ranked.unit)]
    return {"unit": unit, "units": units, "how": how, "click": [clicks, share, which]}, None


@callbacks.server(
    Output("answered", "data"),
    Output("trial", "data"),
    Output("tray-problem", "children"),
    Input("settled", "data"),
    State("run", "data"),
    prevent_initial_call=True,
    websocket=True,  # a toggle waits for no new connection, nor for other callbacks of the page
)
async def measure_selection(selection: Any, data: Any, *, api: AsyncClient) -> Any:
    """Submit a trial of the selection; without any units there is none."""
    number = selection["number"]
    request = trial_request(data["id"], selection)
    if request is None:
        return {"number": number}, None, None
    try:
        trial = await api.send(client.submit_trial(request))
    except ModelShapleyError as error:
        if is_transient(error):
            return {"number": number, "failed": selection["asked"]}, no_update, empty_states.trying_again(error)
        return {"number": number}, None, empty_states.failure(error)
    return {"number": number}, trial.model_dump(mode="json"), None


@callbacks.server(
    Output("tray-figures", "children"),
    Output("rendered", "data"),
    Input("trial", "data"),
    Input("connection", "data"),
    Input("reading", "data"),
    State("run", "data"),
    prevent_initial_call=True,
)
async def show_trial(data: Any, connection: str, reading: str, run: Any) -> Any:
    """Show the figures of the newest event of the trial, or the intact model's without one, and say which they are.

    Nothing else writes the figures: of two writers whose answers come at the same time, the later need not win.
    """
    intact = Run.model_validate(run).intact
    assert intact is not None
    if data is None:
        return intact_view(intact), INTACT
    trial = Trial.model_validate(data)
    return trial_view(trial, intact, connection == "lost", reading), f"{trial.id} {trial.sequence}"


callbacks.browser(
    "page",
    "describe",
    Output("tray-off", "children"),
    Output("undo", "disabled"),
    Output("reset", "disabled"),
    Output("tray-link", "children"),
    Output("treatment-text", "children"),
    Output("factor-frame", "style"),
    Output("offset-frame", "style"),
    Output("try-link", "href"),
    Output("tray-figures", "className", allow_duplicate=True),
    Input("selection", "data"),
    Input("reading", "data"),
    Input("unit", "value"),
    Input("how", "value"),
    *display_controls.INPUTS,
    prevent_initial_call="initial_duplicate",
)


callbacks.browser(
    "page",
    "settle",
    Output("tray-figures", "className", allow_duplicate=True),
    Input("selection", "data"),
    Input("precision", "value"),
    Input("measure-all", "n_clicks"),
    prevent_initial_call="initial_duplicate",  # what a link switches off is measured when the page opens
)


callbacks.browser(
    "page",
    "present",
    Output("tray-figures", "className"),
    Output("early", "hidden"),
    Input("trial", "data"),
    Input("answered", "data"),
    Input("rendered", "data"),
    prevent_initial_call=True,
)


callbacks.browser("page", "rendered", Output("followed-trial", "title"), Input("rendered", "data"))


callbacks.browser("page", "follow", Output("followed-trial", "children"), Input("trial", "data"))


callbacks.include(groups.callbacks, curve.callbacks)


async def ranked_units(maps: MapCache, run_id: str, ranked: Ranked) -> Deactivation:
    """Return the units of a share of the ranking. Raises ModelShapleyError."""
    plane = await maps.get(run_id, ranked.method, ranked.unit)
    return extreme_units(plane.scores.reshape(plane.shape), ranked.unit, ranked.which, ranked.fraction)


def is_transient(error: ModelShapleyError) -> bool:
    """Whether the same request may succeed in a moment: there was no answer, or a server error."""
    return not isinstance(error, ApiError) or error.problem.status >= 500


def trial_request(run_id: str, selection: dict[str, Any]) -> TrialRequest | None:
    """Build the request for a page's selection; None where nothing is switched off."""
    off = deactivation_of(selection)
    if not len(off):
        return None
    return TrialRequest(
        run=run_id,
        off=Off.from_deactivation(off),
        treatment=off.treatment,
        half_width=selection.get("half_width"),
        session=selection.get("session"),
        lease=True,  # this page follows the trial; once it is closed, nobody waits for the result
    )
