"""The page Apply of a run: what its maps are good for, in five forms, and what came of them."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.links import link, server_of
from frontend.pages.apply import apply_view, finetuning, quantising, reports, smaller
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, ModelInfo, Run, RunRequest, Status
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()
callbacks.include(smaller.callbacks, finetuning.callbacks, quantising.callbacks, reports.callbacks)
TICK_MS = 1000
USES = {
    "prune": "Make smaller",
    "finetune": "Fine-tune",
    "quantise": "Quantise",
    "probe": "Probe",
    "amplify": "Amplify",
}


async def layout(api: AsyncClient, run: Run) -> Any:
    """Lay out the page of a finished run, or say why there is none. Raises ModelShapleyError."""
    if run.status is not Status.DONE:
        sentence = f"{formatting.progress(run).capitalize()}. Its maps can be used once the run is done."
        return empty_states.state(
            formatting.run_title(run), sentence, dcc.Link("See the run", href=link(f"/runs/{run.id}"))
        )
    infos = {info.id: info for info in await api.send(client.methods())}
    models = {model.id: model for model in await api.send(client.models())}
    return html.Div(
        [
            dcc.Store(id="apply-run", data=run.model_dump(mode="json")),
            dcc.Store(id="apply-state"),
            dcc.Store(id="apply-change"),
            dcc.Store(id="apply-seen"),
            dcc.Interval(id="apply-tick", interval=TICK_MS),
            dcc.Location(id="apply-go", refresh="callback-nav"),
            *_heading(run),
            dmc.Tabs(
                [
                    dmc.TabsList([dmc.TabsTab(title, value=use) for use, title in USES.items()]),
                    html.Div([_forms(run, infos, models.get(run.model)), _results()], className="apply-grid"),
                ],
                id="apply-use",
                value="prune",
                mt="md",
            ),
        ]
    )


def _heading(run: Run) -> list[Any]:
    assert run.intact is not None
    return [
        dmc.Title("Use this map", order=1, size="h2"),
        html.Div(
            f"{formatting.run_title(run)} · intact {formatting.accuracy(run.intact)}, n {run.intact.n} · ",
            className="quiet",
            style={"display": "inline"},
        ),
        dcc.Link("See the map", href=link(f"/runs/{run.id}"), className="quiet"),
    ]


def _forms(run: Run, infos: dict[str, MethodInfo], model: ModelInfo | None) -> Any:
    forms = {
        "prune": smaller.form(run, infos),
        "finetune": finetuning.form(run, infos),
        "quantise": quantising.form(run, model),
        "probe": reports.probe_form(run, infos),
        "amplify": reports.amplify_form(run, infos),
    }
    panels = [dmc.TabsPanel(form, value=use) for use, form in forms.items()]
    return dmc.Card(panels, withBorder=True, padding="md", radius="md")


def _results() -> Any:
    return html.Div(
        [
            dmc.Title("Made from this run", order=2, size="h3", mb="sm"),
            html.Div(id="apply-list-problem"),
            html.Div(dmc.Skeleton(h=90, radius="md"), id="apply-list"),
        ]
    )


@callbacks.server(
    Output("apply-list", "children"),
    Output("apply-seen", "data"),
    Output("apply-list-problem", "children"),
    Input("apply-tick", "n_intervals"),
    Input("apply-change", "data"),
    State("apply-seen", "data"),
    State("apply-run", "data"),
    State("url", "href"),
)
async def list_derived(_: int, __: Any, seen: str | None, data: Any, href: str, *, api: AsyncClient) -> Any:
    """List the derived models of the run, if they have changed."""
    try:
        derived = await api.send(client.all_derived(data["id"]))
        own = (await api.send(client.runs(200, search="derived:"))).items if derived else []
    except ModelShapleyError as error:
        return no_update, no_update, empty_states.trying_again(error)
    runs = {run.model: run for run in reversed(own) if run.deleted is None}
    key = repr([(one.id, one.status, one.step, one.progress, runs.get(one.model or "")) for one in derived])
    if key == seen:  # redrawing would close what the reader has opened
        return no_update, no_update, None
    return apply_view.cards(derived, runs, server_of(href)), key, None


@callbacks.server(
    Output("apply-change", "data", allow_duplicate=True),
    Output("apply-list-problem", "children", allow_duplicate=True),
    Input({"type": "apply-drop", "derived": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def drop(clicks: list[int | None], *, api: AsyncClient) -> Any:
    """Cancel or delete a derived model."""
    # A button fires when it is drawn, too; only one that was clicked carries a number.
    if not any(clicks) or not isinstance(ctx.triggered_id, dict):
        return no_update, no_update
    try:
        dropped = await api.send(client.drop_derived(ctx.triggered_id["derived"]))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return f"{dropped.id} dropped", None


@callbacks.server(
    Output("apply-go", "href"),
    Output("apply-list-problem", "children", allow_duplicate=True),
    Input({"type": "apply-score", "model": ALL}, "n_clicks"),
    State("apply-run", "data"),
    prevent_initial_call=True,
)
async def score(clicks: list[int | None], data: Any, *, api: AsyncClient) -> Any:
    """Score a derived model as its parent was scored, and go to its own map."""
    if not any(clicks) or not isinstance(ctx.triggered_id, dict):
        return no_update, no_update
    request: RunRequest = Run.model_validate(data).request()
    try:
        run = await api.send(
            client.submit_run(request.model_copy(update={"model": ctx.triggered_id["model"], "shards": 1}))
        )
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return link(f"/runs/{run.id}"), None
