"""The trust page: how far one map can be trusted. Its method and kind of unit are in the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.address import View, write
from frontend.figures import heatmaps
from frontend.links import link
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.trust import trust_view
from modelshapley import client, formatting
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Faithfulness, MethodInfo, Run, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import reading_of
from modelshapley.units import UnitKind

callbacks = Callbacks()

TICK_MS = 1500
TRIALS = 100


async def layout(api: AsyncClient, run: Run, view: View) -> Any:
    """Lay out the page of a finished run, or say why there is none. Raises ModelShapleyError."""
    if run.status is not Status.DONE:
        return _not_done(run)
    reading = reading_of(view.method, run.methods) if view.method else None
    method = reading.computed if reading else run.methods[0]
    infos = {info.id: info for info in await api.send(client.methods())}
    notices = [dmc.Alert(notice, color="yellow", variant="light", mb="sm") for notice in _ignored_parts(run, view)]
    return html.Div(
        [
            dcc.Store(id="trust-run", data=run.model_dump(mode="json")),
            dcc.Store(id="trust-request"),
            dcc.Store(id="trust-seen"),
            dcc.Store(id="trust-reading", data=view.method if reading else None),
            dcc.Interval(id="trust-page-tick", interval=TICK_MS),
            dmc.Title("Can you trust this map?", order=1, size="h2"),
            html.Div(_about(run), className="quiet", style={"marginBottom": 14}),
            *(html.Div(notice) for notice in notices),
            _controls(run, method, view.unit, infos),
            html.Div(id="trust-problem"),
            html.Div(_skeleton(), id="trust-body"),
        ]
    )


def _not_done(run: Run) -> Any:
    title = f"{run.model.partition(':')[2]} on {run.task}"
    sentence = f"{formatting.progress(run).capitalize()}. Its maps can be checked once the run is done."
    if run.status.ended:
        sentence = f"This run is {formatting.STATUS_WORDS[run.status]}, so it has no maps to check."
    return empty_states.state(title, sentence, dcc.Link("See the run", href=link(f"/runs/{run.id}")))


def _controls(run: Run, method: str, wanted: UnitKind | None, infos: Mapping[str, MethodInfo]) -> Any:
    kinds = [kind for kind in heatmaps.PANELS if kind in run.units]
    unit = wanted if wanted in kinds else next(k for k in (UnitKind.HEAD, *kinds) if k in kinds)
    return dmc.Group(
        [
            dmc.Select(
                id="trust-method",
                label="Method",
                data=[{"value": m, "label": formatting.method(m, infos)} for m in run.methods],
                value=method,
                allowDeselect=False,
                w=260,
            ),
            html.Div(
                [
                    dmc.Text("Kind of unit", size="sm", fw=500, mb=4),
                    dmc.SegmentedControl(
                        id="trust-unit",
                        data=[{"value": k.value, "label": formatting.PLURALS[k].capitalize()} for k in kinds],
                        value=unit.value,
                        **{"aria-label": "Kind of unit"},
                    ),
                ]
            ),
            html.Div(id="trust-map-link", style={"paddingBottom": 8}),
        ],
        align="flex-end",
        mb="md",
    )


def _about(run: Run) -> str:
    assert run.intact is not None  # a run is done only after its intact accuracy has been measured
    return (
        f"{run.model.partition(':')[2]} on {run.task} · {run.progress.total} probe examples · seed {run.seed} · "
        f"intact {formatting.accuracy(run.intact)}, n {run.intact.n}"
    )


def _ignored_parts(run: Run, view: View) -> list[str]:
    """Name each part of the address that this page cannot follow."""
    sentences = [f"Ignored a part of the link that is not valid: {part!r}." for part in view.unclear]
    if view.method is not None and reading_of(view.method, run.methods) is None:
        sentences.append(f"This run was not scored by {view.method!r}.")
    if view.unit is not None and view.unit not in run.units:
        sentences.append(f"This run has no map of {formatting.PLURALS[view.unit]}.")
    return sentences


def _skeleton() -> Any:
    return dmc.Stack([dmc.Skeleton(h=150, radius="md"), dmc.Skeleton(h=320, radius="md")], gap="md")


@callbacks.server(
    Output("trust-body", "children"),
    Output("trust-map-link", "children"),
    Output("trust-page-tick", "disabled"),
    Output("trust-seen", "data"),
    Output("trust-problem", "children"),
    Input("trust-method", "value"),
    Input("trust-unit", "value"),
    Input("trust-page-tick", "n_intervals"),
    Input("trust-request", "data"),
    State("trust-run", "data"),
    State("trust-seen", "data"),
    State("trust-reading", "data"),
)
async def show_report(
    method: str, unit: str, _: int, __: Any, data: Any, seen: str | None, displayed: str | None, *, api: AsyncClient
) -> Any:
    """Show the report on one map, if it has changed; poll until the check has ended."""
    run, kind = Run.model_validate(data), UnitKind(unit)
    try:
        report = await _report(api, run)
        trials = await api.send(client.run_trials(run.id, TRIALS))
        infos = {info.id: info for info in await api.send(client.methods())}
    except ModelShapleyError as error:
        return no_update, no_update, False, no_update, empty_states.trying_again(error)
    # Redrawing an equal report would close what the reader has opened.
    key = f"{method} {unit} {report.model_dump_json()} {len(trials)} {trials[0].sequence if trials else 0}"
    ended = report.status.ended
    if key == seen:
        return no_update, no_update, ended, no_update, None
    reading = reading_of(displayed, run.methods) if displayed else None
    reread = reading is not None and reading.computed == method and displayed != method
    body = trust_view.view(report, run, method, kind, infos, trials, reread)
    links = [
        dcc.Link("See the map", href=write(run.id, View(method, kind))),
        " · ",
        html.A("Full report (HTML)", href=link(f"/runs/{run.id}/report?method={quote(method)}")),
    ]
    return body, links, ended, key, None


@callbacks.server(
    Output("trust-request", "data"),
    Output("trust-problem", "children", allow_duplicate=True),
    Input({"type": "check", "effort": ALL}, "n_clicks"),
    State("trust-run", "data"),
    prevent_initial_call=True,
)
async def start_check(clicks: list[int | None], data: Any, *, api: AsyncClient) -> Any:
    """Start a check of the run's maps."""
    # A button fires when it is drawn, too; only one that was clicked carries a number.
    if not any(clicks) or not isinstance(ctx.triggered_id, dict):
        return no_update, no_update
    try:
        report = await api.send(client.check_maps(data["id"], ctx.triggered_id["effort"]))
    except ModelShapleyError as error:
        # After a conflict the page shows the check that somebody else has started.
        started = isinstance(error, ApiError) and error.problem.status == 409
        return (ctx.triggered[0] if started else no_update), empty_states.failure(error)
    return report.model_dump(mode="json"), None


@callbacks.server(
    Output("trust-request", "data", allow_duplicate=True),
    Output("trust-problem", "children", allow_duplicate=True),
    Input("cancel-check", "n_clicks"),
    State("trust-run", "data"),
    prevent_initial_call=True,
)
async def cancel_check(clicks: int | None, data: Any, *, api: AsyncClient) -> Any:
    """Cancel the check of the run's maps; what it has measured stays."""
    if not clicks:
        return no_update, no_update
    try:
        await api.send(client.cancel_check(data["id"]))
    except ModelShapleyError as error:
        # After a conflict the check has just ended, and the page shows its report.
        ended = isinstance(error, ApiError) and error.problem.status == 409
        return (ctx.triggered[0] if ended else no_update), None if ended else empty_states.failure(error)
    return {"cancelled": clicks}, None


callbacks.browser(
    "pages",
    "trustAddress",
    Output("trust-reading", "data"),
    Input("trust-method", "value"),
    Input("trust-unit", "value"),
    State("trust-reading", "data"),
    prevent_initial_call=True,
)


async def _report(api: AsyncClient, run: Run) -> Faithfulness:
    """Fetch the report; an empty one for a run that was scored by a version without reports."""
    try:
        return await api.send(client.faithfulness(run.id))
    except ApiError as error:
        if error.problem.status != 404:
            raise
        return Faithfulness.unmeasured(run.model_copy(update={"faithfulness": "none"}), {})
