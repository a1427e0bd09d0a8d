"""The cards that choose the maps of the compare page: run, method and class of each; two to eight of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, MATCH, Input, Output, State, ctx, html, no_update

from frontend.pages.compare import resolve
from frontend.pages.compare.address import SLOTS, Choice
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, Run
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import reading_of

callbacks = Callbacks()

ALL_CLASSES = ""  # the value of that choice
PARTS = ("run", "method", "class")


def fields(dependency: type[Input] | type[State]) -> list[Any]:
    """Return the chosen runs, methods and classes of all cards as arguments of a callback: three lists."""
    return [dependency({"type": f"compare-{part}", "side": ALL}, "value") for part in PARTS]


def choices_of(runs: Sequence[str], methods: Sequence[str], labels: Sequence[str]) -> list[Choice]:
    """Return the choices that the values of :func:`fields` describe."""
    parts = list(zip(runs, methods, labels, strict=True))[: len(SLOTS)]  # whatever a request holds
    return [Choice(run, method, label or None) for run, method, label in parts]


def layout(choices: Sequence[Choice], runs: Sequence[Run], infos: Mapping[str, MethodInfo]) -> Any:
    """Lay out a card for each map, and the button that adds one."""
    return html.Div(
        [
            html.Div(cards(choices, runs, infos), id="compare-sides", className="compare-sides"),
            html.Div(
                [
                    dmc.Button("Add a map", id="compare-add", variant="default", size="xs"),
                    html.Span(f"Up to {len(SLOTS)} maps.", className="quiet"),
                ],
                className="link-row",
            ),
            html.Div(id="compare-add-problem", role="status"),
        ]
    )


def cards(choices: Sequence[Choice], runs: Sequence[Run], infos: Mapping[str, MethodInfo]) -> list[Any]:
    """Lay out the cards. A card of more than two can be removed."""
    return [_card(slot, choice, runs, infos, len(choices) > 2) for slot, choice in zip(SLOTS, choices, strict=False)]


def _card(slot: str, choice: Choice, runs: Sequence[Run], infos: Mapping[str, MethodInfo], removable: bool) -> Any:
    run = next(run for run in runs if run.id == choice.run)
    number = SLOTS.index(slot) + 1
    remove = html.Button(
        "Remove",
        id={"type": "compare-remove", "side": slot},
        className="plain-button",
        **{"aria-label": f"Remove map {number}"},
    )
    return dmc.Paper(
        [
            html.Div(
                [
                    html.H2(f"Map {number}", id={"type": "compare-name", "side": slot}, className="card-title"),
                    remove if removable else None,
                ],
                className="card-head",
            ),
            dmc.Select(
                id={"type": "compare-run", "side": slot},
                label=f"Run of map {number}",
                data=[{"value": r.id, "label": _title(r)} for r in runs],
                value=run.id,
                allowDeselect=False,
                searchable=True,
            ),
            dmc.Group(
                [
                    dmc.Select(
                        id={"type": "compare-method", "side": slot},
                        label=f"Method of map {number}",
                        data=_methods(run, infos, choice.method),
                        value=choice.method,
                        allowDeselect=False,
                        style={"flex": 1},
                    ),
                    html.Div(
                        dmc.Select(
                            id={"type": "compare-class", "side": slot},
                            label=f"Class of map {number}",
                            data=_classes(run),
                            value=choice.label or ALL_CLASSES,
                            allowDeselect=False,
                            searchable=True,
                        ),
                        id={"type": "compare-classes", "side": slot},
                        hidden=not run.classes,
                        style={"flex": 1},
                    ),
                ],
                mt="xs",
                align="flex-start",
            ),
        ],
        withBorder=True,
        p="md",
        radius="md",
    )


def _title(run: Run) -> str:
    named = f"{run.name} · " if run.name else ""
    return f"{named}{formatting.run_title(run)}, seed {run.seed} · {formatting.ago(run.created)} · {run.id}"


def _methods(run: Run, infos: Mapping[str, MethodInfo], also: str | None = None) -> list[dict[str, str]]:
    """Return the options. also: another reading of one of the methods, which a link names."""
    names = list(dict.fromkeys([*run.methods, *([also] if also else [])]))
    return [{"value": method, "label": formatting.method(method, infos)} for method in names]


def _classes(run: Run) -> list[dict[str, str]]:
    all_classes = {"value": ALL_CLASSES, "label": "all classes"}
    return [all_classes, *({"value": label, "label": f"{label} (n {n})"} for label, n in run.classes.items())]


@callbacks.server(
    Output({"type": "compare-method", "side": MATCH}, "data"),
    Output({"type": "compare-method", "side": MATCH}, "value"),
    Output({"type": "compare-class", "side": MATCH}, "data"),
    Output({"type": "compare-class", "side": MATCH}, "value"),
    Output({"type": "compare-classes", "side": MATCH}, "hidden"),
    Input({"type": "compare-run", "side": MATCH}, "value"),
    State({"type": "compare-method", "side": MATCH}, "value"),
    State({"type": "compare-class", "side": MATCH}, "value"),
    prevent_initial_call=True,
)
async def offer_maps_of_run(run_id: str, method: str, label: str, *, api: AsyncClient) -> Any:
    """Offer the methods and classes of the run that was chosen, and keep the current ones if it has them."""
    try:
        run = await api.send(client.run(run_id))
        infos = {info.id: info for info in await api.send(client.methods())}
    except ModelShapleyError:
        return (no_update,) * 5  # the comparison requests the same run, and reports the error
    new_method = method if reading_of(method, run.methods) is not None else run.methods[0]
    new_label = label if label in run.classes else ALL_CLASSES
    return _methods(run, infos, new_method), new_method, _classes(run), new_label, not run.classes


@callbacks.server(
    Output("compare-sides", "children"),
    Output("compare-pair", "data"),
    Output("compare-add-problem", "children"),
    Input("compare-add", "n_clicks"),
    Input({"type": "compare-remove", "side": ALL}, "n_clicks"),
    *fields(State),
    State("compare-pair", "data"),
    prevent_initial_call=True,
)
async def change_number(
    _: int | None,
    __: list[int | None],
    runs: list[str],
    methods: list[str],
    labels: list[str],
    pair: list[int],
    *,
    api: AsyncClient,
) -> Any:
    """Add a map, or remove one."""
    if not ctx.triggered or not ctx.triggered[0]["value"]:  # a button that has just been laid out
        return (no_update,) * 3
    chosen = choices_of(runs, methods, labels)
    try:
        known, _total, _missing = await resolve.load_runs(api, chosen)
        infos = {info.id: info for info in await api.send(client.methods())}
    except ModelShapleyError as error:
        return no_update, no_update, empty_states.failure(error)
    if ctx.triggered_id == "compare-add":
        if len(chosen) == len(SLOTS):
            return no_update, no_update, f"At most {len(SLOTS)} maps can be compared. Remove one first."
        chosen.append(next(resolve.further_maps(chosen, known), chosen[0]))
        return cards(chosen, known, infos), pair, None
    removed = SLOTS.index(ctx.triggered_id["side"])
    del chosen[removed]
    return cards(chosen, known, infos), pair_without(removed, pair), None


def pair_without(removed: int, pair: Sequence[int]) -> list[int]:
    """Return the pair in detail after one map is removed: the same two maps, or the first two."""
    if removed in pair:
        return [0, 1]
    return [place - (place > removed) for place in pair]
