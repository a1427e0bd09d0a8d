"""The map of one answer: temporary, compared with the map of the run's task, and kept as a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import Input, Output, State, dcc, html, no_update

from frontend.figures import heatmaps
from frontend.figures.planes import Plane
from frontend.links import link
from frontend.map_cache import MapCache
from frontend.pages.shared import drawing, empty_states, tables
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Layout, MapData, Run, Status
from modelshapley.contracts.prompts import PromptMap, PromptMapRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.compare import Places, Tops, rank_at, rank_correlation
from modelshapley.units import UnitKind, unit_name

callbacks = Callbacks()
TICK_MS = 400
TOP = 0.05  # share of the units that counts as important
LISTED = 8


def layout() -> Any:
    """Lay out the section, hidden until an answer is complete."""
    return html.Section(
        [
            dcc.Store(id="try-map"),
            dcc.Store(id="try-map-shown"),  # {prompt, ended, body, problem}
            dcc.Store(id="try-keep-answer"),  # {prompt, kept, problem}
            dcc.Interval(id="try-map-tick", interval=TICK_MS, disabled=True),
            dmc.Group(
                [
                    dmc.Title("Which units matter for this answer?", order=2, size="h4"),
                    dmc.Button("Map of this answer", id="try-map-go", variant="light", size="compact-sm"),
                    dmc.Button("Keep as a run", id="try-keep", variant="default", size="compact-sm"),
                    html.Div(id="try-kept", role="status"),
                ],
                gap="md",
            ),
            html.P(
                "One backward pass scores every unit by the loss of this one answer. The map is temporary: it is gone "
                "after an hour, unless it is kept as a run.",
                className="quiet",
            ),
            html.Div(id="try-map-problem", role="alert"),
            html.Div(id="try-map-body"),
        ],
        id="try-map-section",
        className="trust-section",
        hidden=True,
    )


# What is shown follows from the answer on the page: a map that an earlier one was waiting for stays away.
callbacks.browser(
    "tryOut",
    "map",
    Output("try-map-section", "hidden"),
    Output("try-map-body", "children"),
    Output("try-map-problem", "children"),
    Output("try-map-tick", "disabled"),
    Output("try-kept", "children"),
    Input("try-done", "data"),
    Input("try-map", "data"),
    Input("try-map-shown", "data"),
    Input("try-keep-answer", "data"),
    prevent_initial_call=True,
)


@callbacks.server(
    Output("try-map", "data"),
    Output("try-map-shown", "data", allow_duplicate=True),
    Input("try-map-go", "n_clicks"),
    State("try-done", "data"),
    State("try-target", "data"),
    prevent_initial_call=True,
)
async def start(clicks: int | None, done: Any, target: dict[str, Any], *, api: AsyncClient) -> Any:
    """Request the map of the answer."""
    if not clicks or not done:
        return no_update, no_update
    try:
        state = await api.send(client.map_answer(done["id"], _request(target)))
    except ModelShapleyError as error:
        return None, _shown(done["id"], problem=empty_states.failure(error))
    return state.model_dump(mode="json"), _shown(done["id"], dmc.Skeleton(h=260, radius="md"), ended=False)


@callbacks.server(
    Output("try-map-shown", "data"),
    Input("try-map-tick", "n_intervals"),
    State("try-map", "data"),
    State("try-target", "data"),
    running=[(Output("try-map-go", "disabled"), True, False)],
    prevent_initial_call=True,
)
async def watch(_: int, data: Any, target: dict[str, Any], *, api: AsyncClient, maps: MapCache) -> Any:
    """Show the map once it is there."""
    if data is None:
        return no_update
    prompt = data["prompt"]
    try:
        state = await api.send(client.answer_map(prompt))
        if not state.status.ended:
            return no_update
        if state.status is Status.DONE:
            return _shown(prompt, await _body(api, maps, state, target))
        title, text = "No map", state.error or "The map failed."
        return _shown(prompt, problem=dmc.Alert(text, color="red", variant="light", title=title))
    except ModelShapleyError as error:
        return _shown(prompt, problem=empty_states.failure(error))


def _shown(prompt: str, body: Any = None, problem: Any = None, ended: bool = True) -> dict[str, Any]:
    return {"prompt": prompt, "body": body, "problem": problem, "ended": ended}


@callbacks.server(
    Output("try-keep-answer", "data"),
    Input("try-keep", "n_clicks"),
    State("try-done", "data"),
    State("try-target", "data"),
    prevent_initial_call=True,
)
async def keep(clicks: int | None, done: Any, target: dict[str, Any], *, api: AsyncClient) -> Any:
    """Keep the answer as a task with one example, and a run on it."""
    if not clicks or not done:
        return no_update
    try:
        run = await api.send(client.keep_prompt(done["id"], _request(target)))
    except ModelShapleyError as error:
        return {"prompt": done["id"], "problem": empty_states.failure(error)}
    kept = ["Kept as ", dcc.Link(f"run {run.id}", href=link(f"/runs/{run.id}")), "."]
    return {"prompt": done["id"], "kept": kept}


def _request(target: dict[str, Any]) -> PromptMapRequest:
    method = target.get("method")
    return PromptMapRequest(method=method) if method else PromptMapRequest()


async def _body(api: AsyncClient, maps: MapCache, state: PromptMap, target: dict[str, Any]) -> Any:
    """Return the figure of the map and, where the page has a run, what differs from its map."""
    planes = {kind: plane_of(await api.send(client.answer_scores(state.prompt, kind))) for kind in state.units}
    run = None
    if target.get("run"):
        run = await api.send(client.run(target["run"]))
    figure = await asyncio.to_thread(heatmaps.map_figure, planes, run.layout if run else Layout())
    quantity = next(iter(planes.values())).quantity
    for trace in figure["data"]:  # one example has no standard error
        trace["hovertemplate"] = trace.get("hovertemplate", "").replace(" ± %{customdata[3]:.2g}", "")
    graph = drawing.graph("answer-map", heatmaps.static(figure), "Map of this answer")
    parts = [
        html.Div(f"Temporary map by {state.method}: {quantity}.", className="quiet"),
        html.Div(
            html.Div(graph, className="answer-map"),
            className="scroll-x",
            tabIndex=0,
            role="region",
            **{"aria-label": "Map"},
        ),
    ]
    return [*parts, *(await _differences(maps, run, state, planes) if run is not None else [])]


async def _differences(maps: MapCache, run: Run, state: PromptMap, planes: Mapping[UnitKind, Plane]) -> list[Any]:
    """Compare with the map of the run's task, for each kind of unit that both have."""
    method = state.method if state.method in run.methods else run.methods[0]
    cards = []
    for kind, here in planes.items():
        if kind in run.units:
            there = await maps.get(run.id, method, kind)
            cards.append(await asyncio.to_thread(comparison_card, kind, here, there))
    if not cards:
        return []
    title = f"Compared with the map of {run.task} (the top {100 * TOP:.0f} % of each)"
    return [dmc.Title(title, order=3, size="h5", mt="lg"), html.Div(cards, className="trust-grid three answer-cards")]


def comparison_card(kind: UnitKind, here: Plane, there: Plane) -> Any:
    """Compare the maps of an answer and of a task: agreement, and the units that matter in one of them only."""
    tops = Tops.of(here.scores, there.scores, TOP)
    rho = rank_correlation(here.scores.reshape(here.shape), there.scores.reshape(there.shape))
    agreement = "one of the maps is constant" if rho is None else f"rank correlation ρ {formatting.signed(rho)}"
    return dmc.Paper(
        [
            dmc.Title(formatting.PLURALS[kind].capitalize(), order=4, size="h5"),
            html.Div(f"{len(tops.both):,} of {len(tops.first):,} are in both · {agreement}", className="quiet"),
            _table("Matter here, not on the task", kind, here, there, tops.only_first),
            _table("Matter on the task, not here", kind, here, there, tops.only_second),
        ],
        withBorder=True,
        p="md",
        radius="md",
    )


def _table(title: str, kind: UnitKind, here: Plane, there: Plane, places: Places) -> Any:
    """A table of units, by their places in the flattened maps, with both ranks."""
    if not len(places):
        return html.Div(f"{title}: none", className="quiet")
    rows = []
    for place in places[:LISTED].tolist():
        unit = tuple(int(i) for i in np.unravel_index(place, here.shape))
        rows.append([unit_name(kind, unit), f"{rank_at(here.scores, place):,}", f"{rank_at(there.scores, place):,}"])
    more = f" ({LISTED} of {len(places):,})" if len(places) > LISTED else ""
    return html.Div(
        [html.Div(f"{title}{more}", className="table-title"), tables.table(("unit", "rank here", "on the task"), rows)]
    )


def plane_of(data: MapData) -> Plane:
    """Return the scores of an answer as a plane."""
    scores, errors = (np.array(values, dtype=float) for values in (data.scores, data.standard_errors))
    return Plane(
        data.run, data.method, data.unit, data.shape, scores, errors, data.quantity, data.signed, data.provenance
    )
