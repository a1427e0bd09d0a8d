"""Map: which parts of this model carry this task. The tray beside it: what happens if they are switched off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from frontend.address import Ranked, View, parse, shown
from frontend.display import Display
from frontend.figures import heatmaps
from frontend.map_cache import Maps
from frontend.pages.map import (
    counts,
    display_controls,
    harm_weight,
    parts,
    past_trials,
    top,
    tray,
    trial_details,
    unit_examples,
    unit_panel,
)
from frontend.pages.shared import empty_states
from frontend.pages.trust import summary
from frontend.selection import held
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, Run, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import reading_of
from modelshapley.units import Deactivation, UnitKind, UnitShapes


async def layout(api: AsyncClient, maps: Maps, run: Run, view: View) -> Any:
    """The page of a run: its map when it is done, what is going on before. Raises ModelShapleyError."""
    if run.status is Status.DONE:
        return await _done(api, maps, run, view)
    return html.Div(
        [
            dcc.Interval(id="run-tick", interval=700, disabled=run.status.ended),
            dcc.Store(id="run", data=run.model_dump(mode="json")),
            html.Div(parts.unfinished(run), id="run-state"),
        ]
    )


def register(app: Dash, api: AsyncClient, maps: Maps) -> None:
    tray.register(app, api, maps)

    @app.callback(
        Output("page", "children", allow_duplicate=True),
        Output("run-state", "children"),
        Input("run-tick", "n_intervals"),
        State("run", "data"),
        State("url", "search"),
        # One question at a time: the answer to a second one would replace a page that is in use by then.
        running=[(Output("run-tick", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def _watch(_: int, data: Any, search: str) -> Any:
        try:
            run = await api.send(client.run(data["id"]))
            if run.status is Status.DONE:
                return await _done(api, maps, run, parse(search or "")), no_update
        except ModelShapleyError as error:
            return no_update, empty_states.failure(error)
        return no_update, parts.unfinished(run)

    @app.callback(
        Output("quantity", "children"),
        Output("downloads", "children"),
        Output("explanation", "children"),
        Input("reading", "data"),
        *display_controls.INPUTS,
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _words(method: str, colour: str, log: bool, ordered: bool, label: str, data: Any) -> Any:
        try:
            infos = await _infos(api)
        except ModelShapleyError as error:
            return empty_states.failure(error), None, None
        run, display = Run.model_validate(data), display_controls.of(colour, log, ordered)
        return await _told(maps, infos, run, method, label, display)

    display_controls.register(app)
    for part in (top, counts):
        part.register(app, maps)
    unit_panel.register(app, api, maps)
    harm_weight.register(app)
    summary.register(app, api)
    trial_details.register(app, api)
    unit_examples.register(app, api)
    past_trials.register(app, api)

    app.clientside_callback(
        ClientsideFunction("page", "select"),
        Output("selection", "data"),
        Output("history", "data"),
        Output("how", "value"),
        Output("factor", "value"),
        Output("offset", "value"),
        Input("undo", "n_clicks"),
        Input("reset", "n_clicks"),
        Input("ranked", "data"),
        Input("taken", "data"),
        Input("touched", "data"),
        Input("how", "value"),
        Input("factor", "value"),
        Input("offset", "value"),
        State("selection", "data"),
        State("history", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("page", "look"),
        Output("map", "className"),
        Input("reading", "data"),
        *display_controls.INPUTS,
        Input("theme", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("page", "mark"), Output("marks", "className"), Input("selection", "data")
    )


async def _infos(api: AsyncClient) -> dict[str, MethodInfo]:
    return {info.id: info for info in await api.send(client.methods())}


async def _told(
    maps: Maps, infos: Mapping[str, MethodInfo], run: Run, method: str, label: str | None, display: Display
) -> tuple[Any, Any, Any]:
    """What the colours mean, what can be downloaded, and how it is computed."""
    smallest = min(run.units, key=lambda kind: math.prod(run.shapes[kind]))
    try:
        found = await maps.get(run.id, method, smallest, label or None)
    except ModelShapleyError as error:
        return empty_states.failure(error), None, None
    return (
        parts.quantity(found, display),
        parts.downloads(run, method, label or ""),
        parts.explanation(infos[method.partition(",")[0]], found.provenance),
    )


async def _done(api: AsyncClient, maps: Maps, run: Run, view: View) -> Any:
    seen = shown(run, view)
    read = reading_of(str(seen.method), run.methods)
    method = read.computed if read else run.methods[0]
    kinds = [kind for kind in heatmaps.PANELS if kind in run.units]
    unit = view.unit if view.unit in kinds else next(k for k in (UnitKind.HEAD, *kinds) if k in kinds)
    selection, notice = await _selection(maps, run, view)
    infos = await _infos(api)
    quantity, downloads, explanation = await _told(maps, infos, run, str(seen.method), seen.label, seen.display)
    notices = [*_left_out(run, view), *filter(None, [notice])]
    assert run.intact is not None  # a run is done only after its intact accuracy has been measured
    titles = [{"value": m, "label": formatting.method(m, infos)} for m in run.methods]
    return html.Div(
        [
            dcc.Store(id="run", data=run.model_dump(mode="json")),
            dcc.Store(id="reading", data=seen.method),
            dcc.Store(id="selection", data=selection | {"treatment": vars(view.treatment)}),
            dcc.Store(id="history", data=[]),
            *display_controls.stores(),
            parts.head(run),
            parts.notes(run),
            dmc.Alert(" ".join(notices), color="yellow", variant="light", mb="sm") if notices else None,
            html.Div(
                [
                    html.Div(
                        [
                            dmc.Group(
                                [
                                    dmc.Select(
                                        id="method",
                                        label="Method",
                                        data=titles,
                                        value=method,
                                        allowDeselect=False,
                                        w=240,
                                    ),
                                    html.Div(
                                        [
                                            dmc.Text("Table and ranking of", size="sm", fw=500, mb=4),
                                            dmc.SegmentedControl(
                                                id="unit",
                                                data=[
                                                    {"value": k.value, "label": formatting.PLURALS[k].capitalize()}
                                                    for k in kinds
                                                ],
                                                value=unit.value,
                                                **{"aria-label": "Kind of unit in table and ranking"},
                                            ),
                                        ]
                                    ),
                                    harm_weight.layout(str(seen.method)),
                                    html.Div(downloads, id="downloads", style={"marginLeft": "auto"}),
                                ],
                                align="flex-end",
                            ),
                            await summary.layout(api, run, str(seen.method), unit),
                            display_controls.layout(run, seen.display, seen.label),
                            html.Div(quantity, id="quantity", className="quiet", style={"marginTop": 10}),
                            _frame(run.shapes[kinds[0]][0]),
                            unit_panel.layout(),
                            top.layout(explanation),
                            counts.layout(),
                            trial_details.layout(),
                            past_trials.layout(),
                        ]
                    ),
                    tray.layout(run, view.treatment, selection.get("ranked")),
                ],
                className="map-grid",
            ),
        ]
    )


def _frame(layers: int) -> Any:
    """The map, what is drawn over it, and the keyboard's way in.

    Not a dcc.Graph: Dash walks through every number of a figure it is given, and a big map has 100,000 of them.
    """
    return html.Div(
        [
            html.Div(html.Div(), id="map", style={"minHeight": heatmaps.height(layers)}),
            html.Canvas(id="marks", **{"aria-hidden": "true"}),
            html.Div(id="map-problem", role="alert"),
            dmc.VisuallyHidden(html.Div(id="cursor-words", role="status")),
        ],
        id="map-frame",
        className="map-frame",
        tabIndex=0,
        role="application",
        **{"aria-label": f"Map. {display_controls.KEYS}"},
    )


def _left_out(run: Run, view: View) -> list[str]:
    """A sentence for each part of the address that this page cannot follow."""
    sentences = [f"The link says {part!r}, which cannot be understood and is left out." for part in view.unclear]
    if view.method is not None and reading_of(view.method, run.methods) is None:
        sentences.append(f"This run was not scored by {view.method!r}.")
    if view.label is not None and view.label not in run.classes:
        sentences.append(f"This run has no map of the class {view.label!r}.")
    if view.unit is not None and view.unit not in run.units:
        sentences.append(f"This run has no map of {formatting.PLURALS[view.unit]}.")
    return sentences


async def _selection(maps: Maps, run: Run, view: View) -> tuple[dict[str, Any], str | None]:
    """What the address wants switched off, as the page holds it, and a word about what could not be."""
    off, how = view.off, None
    if isinstance(off, Ranked):
        if off.unit not in run.units or reading_of(off.method, run.methods) is None:
            return held(
                Deactivation()
            ), f"The link ranks {off.unit.value}s by {off.method}, which this run did not score."
        how = {"which": off.which, "fraction": off.fraction, "unit": off.unit.value, "method": off.method}
        off = await tray.ranked_units(maps, run.id, off)
    try:
        (off or Deactivation()).check(UnitShapes.from_dict(run.shapes, run.layout.ragged))
    except ModelShapleyError as error:
        return held(Deactivation()), f"The link switches off what this model does not have. {error}"
    units = held(off or Deactivation())
    return (units | {"ranked": how} if how else units), None
