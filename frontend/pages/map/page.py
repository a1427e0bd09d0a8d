"""The map page: which parts of a model carry a task, and a tray that measures what happens without them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update

from frontend.address import Ranked, View, parse, resolve
from frontend.display import Display
from frontend.figures import heatmaps
from frontend.map_cache import MapCache
from frontend.pages.map import (
    counts,
    display_controls,
    harm_weight,
    map_code,
    parts,
    top,
    tray,
    unfinished,
    unit_examples,
    unit_panel,
)
from frontend.pages.map.trials import past_trials, trial_details
from frontend.pages.runs import labels
from frontend.pages.shared import code, empty_states
from frontend.pages.shared.info import info
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.trust import summary
from frontend.selection import as_selection
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, Run, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import reading_of
from modelshapley.units import Deactivation, UnitKind, UnitShapes

callbacks = Callbacks()

METHOD_TEXT = (
    "How the importance of a unit is estimated. Two-sided, the default, adds up helpful and harmful effects of "
    "removing a unit, from one backward pass. Its formula and source stand above the list of ranked units."
)


async def layout(api: AsyncClient, maps: MapCache, run: Run, view: View) -> Any:
    """Lay out a run's page: its map once it is done, its progress before that. Raises ModelShapleyError."""
    if run.status is Status.DONE:
        return await _map_page(api, maps, run, view)
    return unfinished.layout(run)


@callbacks.server(
    Output("page", "children", allow_duplicate=True),
    Output("run-state", "children"),
    Output("run-cancel", "disabled"),
    Input("run-tick", "n_intervals"),
    State("run", "data"),
    State("url", "search"),
    # One request at a time: the answer to a second one would replace a page that is already in use.
    running=[(Output("run-tick", "disabled"), True, False)],
    prevent_initial_call=True,
)
async def watch_run(_: int, data: Any, search: str, *, api: AsyncClient, maps: MapCache) -> Any:
    """Show a run's progress, and its map as soon as it is done."""
    try:
        run = await api.send(client.run(data["id"]))
        if run.status is Status.DONE:
            return await _map_page(api, maps, run, parse(search or "")), no_update, no_update
    except ModelShapleyError as error:
        return no_update, empty_states.trying_again(error), no_update
    return no_update, unfinished.state(run), run.status.ended


@callbacks.server(
    Output("quantity", "children"),
    Output("downloads", "children"),
    Output("explanation", "children"),
    Input("reading", "data"),
    *display_controls.INPUTS,
    State("run", "data"),
    prevent_initial_call=True,
)
async def describe_map(
    method: str, colour: str, log: bool, ordered: bool, label: str, data: Any, *, api: AsyncClient, maps: MapCache
) -> Any:
    """Say what the colours mean, offer the downloads, and explain how the map is computed."""
    try:
        infos = await _method_infos(api)
    except ModelShapleyError as error:
        return empty_states.failure(error), None, None
    run, display = Run.model_validate(data), display_controls.display_of(colour, log, ordered)
    return await _map_texts(maps, infos, run, method, label, display)


callbacks.browser(
    "page",
    "select",
    Output("selection", "data"),
    Output("how", "value"),
    Output("factor", "value"),
    Output("offset", "value"),
    Input("undo", "n_clicks"),
    Input("reset", "n_clicks"),
    Input("ranked", "data"),
    Input("loaded", "data"),
    Input("touched", "data"),
    Input("how", "value"),
    Input("factor", "value"),
    Input("offset", "value"),
    State("selection", "data"),
    prevent_initial_call=True,
)
callbacks.browser(
    "page",
    "showMap",
    Output("map", "className"),
    Input("reading", "data"),
    *display_controls.INPUTS,
    Input("theme", "data"),
)
callbacks.browser("page", "mark", Output("marks", "className"), Input("selection", "data"))
callbacks.include(
    labels.callbacks,
    unfinished.callbacks,
    map_code.callbacks,
    tray.callbacks,
    display_controls.callbacks,
    top.callbacks,
    counts.callbacks,
    unit_panel.callbacks,
    harm_weight.callbacks,
    summary.callbacks,
    trial_details.callbacks,
    unit_examples.callbacks,
    past_trials.callbacks,
)


async def _method_infos(api: AsyncClient) -> dict[str, MethodInfo]:
    return {info.id: info for info in await api.send(client.methods())}


async def _map_texts(
    maps: MapCache, infos: Mapping[str, MethodInfo], run: Run, method: str, label: str | None, display: Display
) -> tuple[Any, Any, Any]:
    """Return what the colours mean, the downloads, and how the map is computed."""
    # Any kind of unit has the method's quantity and provenance; the smallest is the quickest to fetch.
    smallest = min(run.units, key=lambda kind: math.prod(run.shapes[kind]))
    try:
        plane = await maps.get(run.id, method, smallest, label or None)
    except ModelShapleyError as error:
        return empty_states.failure(error), None, None
    return (
        parts.quantity(plane, display),
        parts.downloads(
            run, method, label or "", plane, parts.paper_figure(run, method, label or "", plane, display, infos)
        ),
        parts.explanation(infos[method.partition(",")[0]], plane.provenance),
    )


async def _map_page(api: AsyncClient, maps: MapCache, run: Run, view: View) -> Any:
    resolved = resolve(run, view)
    kinds = [kind for kind in heatmaps.PANELS if kind in run.units]
    unit = view.unit if view.unit in kinds else next(k for k in (UnitKind.HEAD, *kinds) if k in kinds)
    selection, notice = await selection_of_view(maps, run, view)
    notices = [*_ignored_parts(run, view), *filter(None, [notice])]
    upper, lower = await _columns(api, maps, run, resolved, unit, kinds)
    assert run.intact is not None  # a run is done only after its intact accuracy has been measured
    return html.Div(
        [
            dcc.Store(id="run", data=run.model_dump(mode="json")),
            dcc.Store(id="reading", data=resolved.method),
            dcc.Store(id="selection", data=selection | {"treatment": vars(view.treatment)}),
            *display_controls.stores(),
            parts.head(run),
            labels.layout(run),
            parts.notes(run),
            dmc.Alert(" ".join(notices), color="yellow", variant="light", mb="sm") if notices else None,
            html.Div(
                [
                    html.Div(upper, className="map-column"),
                    tray.layout(run, view.treatment, selection.get("ranked")),
                    html.Div(lower, className="map-below"),
                ],
                className="map-grid",
            ),
        ]
    )


async def _columns(
    api: AsyncClient, maps: MapCache, run: Run, resolved: View, unit: UnitKind, kinds: list[UnitKind]
) -> tuple[list[Any], list[Any]]:
    """Lay out what is beside the tray: the map with its controls, and the lists below it.

    In the order of focus the tray comes between them.
    """
    infos, method = await _method_infos(api), str(resolved.method)
    quantity, downloads, explanation = await _map_texts(maps, infos, run, method, resolved.label, resolved.display)
    upper = [
        _toolbar(run, infos, method, unit, kinds, downloads),
        await summary.layout(api, run, method, unit),
        display_controls.layout(run, resolved.display, resolved.label),
        html.Div(quantity, id="quantity", className="quiet", style={"marginTop": 10}),
        _frame(run.shapes[kinds[0]][0]),
        unit_panel.layout(),
    ]
    return upper, [top.layout(explanation), counts.layout(), trial_details.layout(), past_trials.layout()]


def _toolbar(
    run: Run, infos: Mapping[str, MethodInfo], method: str, unit: UnitKind, kinds: list[UnitKind], downloads: Any
) -> Any:
    """The row above the map: method, kind of unit, discount for harm, downloads."""
    reading = reading_of(method, run.methods)
    return dmc.Group(
        [
            dmc.Select(
                id="method",
                label="Method",
                data=[{"value": m, "label": formatting.method(m, infos)} for m in run.methods],
                value=reading.computed if reading else run.methods[0],
                allowDeselect=False,
                w=240,
            ),
            html.Div(info("Method", METHOD_TEXT), className="info-beside"),
            html.Div(
                [
                    html.Div(
                        [
                            dmc.Text("Rank by", size="sm", fw=500, span=True),
                            info("Rank by", "The kind of unit that the list, the slider and the trust line mean."),
                        ],
                        className="labelled",
                    ),
                    dmc.SegmentedControl(
                        id="unit",
                        data=[{"value": k.value, "label": formatting.PLURALS[k].capitalize()} for k in kinds],
                        value=unit.value,
                        **{"aria-label": "Kind of unit to rank"},
                    ),
                ]
            ),
            harm_weight.layout(method),
            dmc.Group([code.button("map"), html.Div(downloads, id="downloads")], gap=8, style={"marginLeft": "auto"}),
        ],
        align="flex-end",
    )


def _frame(layers: int) -> Any:
    """The map, the canvas drawn over it, and the element that takes the keyboard's focus.

    Not a dcc.Graph: Dash walks through every number of a figure it is given, and a big map has 100,000 of them.
    """
    return html.Div(
        [
            html.Div(html.Div(), id="map", style={"minHeight": heatmaps.height(layers)}),
            html.Canvas(id="marks", **{"aria-hidden": "true"}),
            html.Div(id="map-problem", role="alert"),
            dmc.VisuallyHidden(html.Div(id="cursor-text", role="status")),
        ],
        id="map-frame",
        className="map-frame",
        tabIndex=0,
        role="application",
        **{"aria-label": f"Map. {display_controls.KEYS}"},
    )


def _ignored_parts(run: Run, view: View) -> list[str]:
    """Name each part of the address that this page cannot follow."""
    sentences = [f"Ignored a part of the link that is not valid: {part!r}." for part in view.unclear]
    if view.method is not None and reading_of(view.method, run.methods) is None:
        sentences.append(f"This run was not scored by {view.method!r}.")
    if view.label is not None and view.label not in run.classes:
        sentences.append(f"This run has no map of the class {view.label!r}.")
    if view.unit is not None and view.unit not in run.units:
        sentences.append(f"This run has no map of {formatting.PLURALS[view.unit]}.")
    return sentences


async def selection_of_view(maps: MapCache, run: Run, view: View) -> tuple[dict[str, Any], str | None]:
    """Return the selection that the address asks for, and a notice where this run cannot have it."""
    off, ranking = view.off, None
    if isinstance(off, Ranked):
        if off.unit not in run.units or reading_of(off.method, run.methods) is None:
            notice = f"The link ranks {off.unit.value}s by {off.method}, which this run did not score."
            return as_selection(Deactivation()), notice
        ranking = {"which": off.which, "fraction": off.fraction, "unit": off.unit.value, "method": off.method}
        off = await tray.ranked_units(maps, run.id, off)
    try:
        (off or Deactivation()).check(UnitShapes.from_dict(run.shapes, run.layout.ragged))
    except ModelShapleyError as error:
        return as_selection(Deactivation()), f"The link switches off units that this model does not have. {error}"
    units = as_selection(off or Deactivation())
    return (units | {"ranked": ranking} if ranking else units), None
