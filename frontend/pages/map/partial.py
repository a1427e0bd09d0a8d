"""The map so far on the page of a run that is being scored: grey until examples are in, and never a result."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from dash import Input, Output, State, dcc, html, no_update

from frontend.figures import heatmaps
from frontend.figures.planes import Plane
from frontend.map_cache import plane_of
from frontend.pages.shared import drawing
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

callbacks = Callbacks()
TICK_MS = 2000
NAME = "partial-map"
GREY = "rgba(139, 149, 165, 0.18)"  # where there is no score
MAX_UNITS = 3_000_000  # of a map that is drawn every few seconds
EXPLANATION = (
    "Scores are means over examples, so they still change. The map of the run replaces this one when it is done."
)


def layout(run: Run) -> Any:
    """Lay out an empty map, which fills while the run is scored; nothing for a run that has ended."""
    kinds = _kinds(run)
    if run.status.ended or not kinds:
        return None
    graph = drawing.graph(NAME, _empty_figure(run, kinds), "Partial map")
    return html.Section(
        [
            dcc.Interval(id="partial-tick", interval=TICK_MS),
            dcc.Store(id="partial-n", data=0),
            html.Div([html.B("Partial map"), html.Span(id="partial-text", children=": no example is scored yet.")]),
            html.Div(EXPLANATION, className="quiet"),
            html.Div(
                html.Div(graph, className="answer-map"),
                className="scroll-x",
                tabIndex=0,
                role="region",
                **{"aria-label": "Partial map"},
            ),
        ],
        id="partial-map",
        className="partial-map",
    )


@callbacks.server(
    Output({"type": "figure", "name": NAME}, "data"),
    Output("partial-text", "children"),
    Output("partial-n", "data"),
    Output("partial-tick", "disabled"),
    Output("partial-map", "hidden"),
    Input("partial-tick", "n_intervals"),
    State("run", "data"),
    State("partial-n", "data"),
    prevent_initial_call=True,
)
async def draw_partial_map(_: int, data: Any, n: int, *, api: AsyncClient) -> Any:
    """Draw the newest map so far; `watch_run` replaces the page once the run is done."""
    unchanged = [no_update] * 5
    run = Run.model_validate(data)
    try:
        run = await api.send(client.run(run.id))
        if run.status is not Status.RUNNING:  # a run that was cancelled or failed has no map
            return [*unchanged[:3], run.status.ended, run.status in (Status.FAILED, Status.CANCELLED)]
        maps = {kind: await _fetch(api, run, kind, n) for kind in _kinds(run)}
    except ModelShapleyError:  # the run has just ended, or the server does not respond: `watch_run` reports it
        return unchanged
    counts = {None if part is None else part.provenance["n"] for part in maps.values()}
    if len(counts) > 1 or None in counts:  # nothing new, or a worker has replaced the map in between
        return unchanged
    planes = {kind: plane_of(run.id, part, kind) for kind, part in maps.items() if part is not None}
    provenance = next(iter(planes.values())).provenance
    figure = await asyncio.to_thread(_figure, run, planes)
    text = f": {provenance['n']:,} of {provenance['partial_of']:,} examples · {run.methods[0]}"
    return figure, text, provenance["n"], False, False


async def _fetch(api: AsyncClient, run: Run, kind: UnitKind, after: int) -> ImportanceMap | None:
    content = await api.send(client.partial_map_file(run.id, run.methods[0], kind, after))
    return await asyncio.to_thread(ImportanceMap.from_bytes, content) if content else None


def _kinds(run: Run) -> list[UnitKind]:
    """Return the kinds of unit of a run that are not too many to be drawn again and again."""
    return [kind for kind in heatmaps.PANELS if kind in run.units and np.prod(run.shapes[kind]) <= MAX_UNITS]


def _figure(run: Run, planes: dict[UnitKind, Plane]) -> dict[str, Any]:
    figure = heatmaps.static(heatmaps.map_figure(planes, run.layout))
    figure["layout"]["plot_bgcolor"] = GREY
    return figure


def _empty_figure(run: Run, kinds: list[UnitKind]) -> dict[str, Any]:
    """Draw the panels without scores, and without the scales of their colours."""
    figure = _figure(run, {kind: _empty_plane(run, kind) for kind in kinds})
    for name, axis in figure["layout"].items():
        if name.startswith("coloraxis"):
            axis["showscale"] = False
    return figure


def _empty_plane(run: Run, kind: UnitKind) -> Plane:
    shape = run.shapes[kind]
    nothing = np.full((shape[0], shape[1] if len(shape) > 1 else 1), np.nan)
    return Plane(run.id, run.methods[0], kind, shape, nothing, nothing, "", False, {})
