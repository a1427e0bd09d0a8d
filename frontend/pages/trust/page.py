"""Trust: how far may I believe this map? For one method and kind of unit, both in the address."""

from __future__ import annotations

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
from modelshapley.contracts import Faithfulness, Run, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import reading_of
from modelshapley.units import UnitKind

callbacks = Callbacks()

TICK_MS = 1500
TRIALS = 100


async def layout(api: AsyncClient, run: Run, view: View) -> Any:
    """The page of a finished run. Raises ModelShapleyError."""
    if run.status is not Status.DONE:
        title = f"{run.model.partition(':')[2]} on {run.task}"
        sentence = f"{formatting.progress(run).capitalize()}: its maps can be checked once the run is done."
        if run.status.ended:
            sentence = f"This run is {formatting.STATUS_WORDS[run.status]}: it has no maps that could be checked."
        return empty_states.state(title, sentence, dcc.Link("See the run", href=link(f"/runs/{run.id}")))
    read = reading_of(view.method, run.methods) if view.method else None
    method = read.computed if read else run.methods[0]
    kinds = [kind for kind in heatmaps.PANELS if kind in run.units]
    unit = view.unit if view.unit in kinds else next(k for k in (UnitKind.HEAD, *kinds) if k in kinds)
    infos = {info.id: info for info in await api.send(client.methods())}
    return html.Div(
        [
            dcc.Store(id="trust-run", data=run.model_dump(mode="json")),
            dcc.Store(id="trust-asked"),
            dcc.Store(id="trust-seen"),
            dcc.Store(id="trust-shown", data=view.method if read else None),
            dcc.Interval(id="trust-page-tick", interval=TICK_MS),
            dmc.Title("May this map be believed?", order=1, size="h2"),
            html.Div(_about(run), className="quiet", style={"marginBottom": 14}),
            *(html.Div(dmc.Alert(notice, color="yellow", variant="light", mb="sm")) for notice in _left_out(run, view)),
            dmc.Group(
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
            ),
            html.Div(id="trust-problem"),
            html.Div(_skeleton(), id="trust-body"),
        ]
    )


def _about(run: Run) -> str:
    assert run.intact is not None  # a run is done only after its intact accuracy has been measured
    return (
        f"{run.model.partition(':')[2]} on {run.task} · {run.progress.total} probe examples · seed {run.seed} · "
        f"intact {formatting.accuracy(run.intact)}, n {run.intact.n}"
    )


def _left_out(run: Run, view: View) -> list[str]:
    """A sentence for each part of the address that this page cannot follow."""
    found = [f"The link says {part!r}, which cannot be understood and is left out." for part in view.unclear]
    if view.method is not None and reading_of(view.method, run.methods) is None:
        found.append(f"This run was not scored by {view.method!r}.")
    if view.unit is not None and view.unit not in run.units:
        found.append(f"This run has no map of {formatting.PLURALS[view.unit]}.")
    return found


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
    Input("trust-asked", "data"),
    State("trust-run", "data"),
    State("trust-seen", "data"),
    State("trust-shown", "data"),
)
async def show_report(
    method: str, unit: str, _: int, asked: Any, data: Any, seen: str | None, shown: str | None, *, api: AsyncClient
) -> Any:
    run, kind = Run.model_validate(data), UnitKind(unit)
    try:
        report = await _report(api, run)
        trials = await api.send(client.run_trials(run.id, TRIALS))
        infos = {info.id: info for info in await api.send(client.methods())}
    except ModelShapleyError as error:
        return no_update, no_update, False, no_update, empty_states.trying_again(error)
    key = f"{method} {unit} {report.model_dump_json()} {len(trials)} {trials[0].sequence if trials else 0}"
    over = report.status.ended
    if key == seen:
        return no_update, no_update, over, no_update, None
    read = reading_of(shown, run.methods) if shown else None
    reread = read is not None and read.computed == method and shown != method
    body = trust_view.view(report, run, method, kind, infos, trials, reread)
    ways = [
        dcc.Link("See the map", href=write(run.id, View(method, kind))),
        " · ",
        html.A("All of it as one file", href=link(f"/runs/{run.id}/report?method={quote(method)}")),
    ]
    return body, ways, over, key, None


@callbacks.server(
    Output("trust-asked", "data"),
    Output("trust-problem", "children", allow_duplicate=True),
    Input({"type": "check", "effort": ALL}, "n_clicks"),
    State("trust-run", "data"),
    prevent_initial_call=True,
)
async def start_check(clicks: list[int | None], data: Any, *, api: AsyncClient) -> Any:
    # A button that has just been drawn fires too; only one that was clicked carries a number.
    if not any(clicks) or not isinstance(ctx.triggered_id, dict):
        return no_update, no_update
    try:
        report = await api.send(client.check_maps(data["id"], ctx.triggered_id["effort"]))
    except ModelShapleyError as error:
        # Somebody else was quicker: the page shows that check.
        going_on = isinstance(error, ApiError) and error.problem.status == 409
        return (ctx.triggered[0] if going_on else no_update), empty_states.failure(error)
    return report.model_dump(mode="json"), None


callbacks.browser(
    "pages",
    "trustAddress",
    Output("trust-shown", "data"),
    Input("trust-method", "value"),
    Input("trust-unit", "value"),
    State("trust-shown", "data"),
    prevent_initial_call=True,
)


async def _report(api: AsyncClient, run: Run) -> Faithfulness:
    """What was measured; of a run from before there were reports, nothing."""
    try:
        return await api.send(client.faithfulness(run.id))
    except ApiError as error:
        if error.problem.status != 404:
            raise
        return Faithfulness.unmeasured(run.model_copy(update={"faithfulness": "none"}), {})
