"""The compare page: what differs between two maps, which its address names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import MATCH, Input, Output, State, dcc, html, no_update

from frontend.figures import heatmaps
from frontend.links import link
from frontend.map_cache import MapCache
from frontend.pages.compare import compare_code, compare_view, pair
from frontend.pages.compare.pair import TOPS, Choice, Pair, Side
from frontend.pages.shared import code, empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import MethodInfo, Run, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.methods import reading_of
from modelshapley.units import UnitKind

callbacks = Callbacks()

LISTED = 200
ALL_CLASSES = ""  # the value of that choice
SIDES = [
    Input({"type": f"compare-{part}", "side": side}, "value") for side in "ab" for part in ("run", "method", "class")
]


async def layout(api: AsyncClient, search: str) -> Any:
    """Lay out the page with the two maps of the address. Raises ModelShapleyError."""
    wanted = pair.parse(search)
    page = await api.send(client.runs(LISTED))
    runs = [run for run in page.items if run.status is Status.DONE]
    missing = await _add_linked_runs(api, wanted, runs)
    if not runs:
        return empty_states.state(
            "Nothing to compare yet",
            "Once a model has been scored, two of its maps can be compared.",
            dcc.Link("Score a model", href=link("/")),
        )
    a, b = resolve_pair(wanted.a, wanted.b, runs)
    infos = {info.id: info for info in await api.send(client.methods())}
    notices = [*missing, *_notices(wanted, a, b, runs)]
    by_id = {run.id: run for run in runs}
    kinds = shared(by_id[a.run], by_id[b.run])
    return html.Div(
        [
            dcc.Store(id="compare-address"),
            dmc.Title("Compare two maps", order=1, size="h2"),
            html.P(
                "Maps by two methods, on two tasks or classes, or of two checkpoints: where do they agree, and which "
                "units matter in only one?",
                className="quiet",
            ),
            _older(page.total),
            dmc.Alert(" ".join(notices), color="yellow", variant="light", mb="sm") if notices else None,
            html.Div([_side("a", a, runs, infos), _side("b", b, runs, infos)], className="trust-grid compare-sides"),
            _controls(kinds, wanted.unit if wanted.unit in kinds else _first(kinds), wanted.top),
            html.Div(id="compare-problem"),
            html.Div(_skeleton(), id="compare-body"),
        ]
    )


async def _add_linked_runs(api: AsyncClient, wanted: Pair, runs: list[Run]) -> list[str]:
    """Add runs of the address that are too old for the list; return a notice for each that has no maps."""
    missing = []
    for choice in (wanted.a, wanted.b):
        if choice is not None and all(run.id != choice.run for run in runs):
            run = await _run(api, choice.run)
            if run is None:
                missing.append(f"Run {choice.run!r} of the link does not exist or has no maps.")
            else:
                runs.append(run)
    return missing


def _notices(wanted: Pair, a: Choice, b: Choice, runs: Sequence[Run]) -> list[str]:
    """Say what the page shows otherwise than its address asks, and which run is deleted."""
    return [
        *(_deleted(run) for run in runs if run.deleted is not None and run.id in (a.run, b.run)),
        *(f"Ignored a part of the link that is not valid: {part!r}." for part in wanted.unclear),
        *(text for given, used in ((wanted.a, a), (wanted.b, b)) for text in _replaced(given, used, runs)),
    ]


def _controls(kinds: Sequence[UnitKind], unit: UnitKind | None, top: int) -> Any:
    return dmc.Group(
        [
            html.Div(
                [
                    dmc.Text("Kind of unit", size="sm", fw=500, mb=4),
                    dmc.SegmentedControl(
                        id="compare-unit",
                        data=_kinds(kinds),
                        value=unit.value if unit else "",
                        **{"aria-label": "Kind of unit"},
                    ),
                ]
            ),
            html.Div(
                [
                    dmc.Text("Most important share", size="sm", fw=500, mb=4),
                    dmc.Slider(
                        id="compare-top",
                        value=top,
                        min=0,
                        max=21,
                        restrictToMarks=True,
                        marks=[{"value": percent, "label": f"{percent} %"} for percent in TOPS],
                        label=None,
                        w=300,
                        mb=18,
                        size="sm",
                        thumbLabel="Share of the units that counts as important, percent",
                    ),
                ]
            ),
            code.button("compare"),
        ],
        align="flex-start",
        gap="xl",
        mt="md",
    )


def _older(total: int) -> Any:
    if total <= LISTED:
        return None
    return html.P(
        f"Lists the newest {LISTED} of {total:,} runs. Older ones can be compared by their address.", className="quiet"
    )


def _deleted(run: Run) -> str:
    assert run.deleted is not None
    return (
        f"Run {run.id} ({formatting.run_title(run)}) was deleted {formatting.ago(run.deleted)}. Its maps will "
        "be removed, unless you restore it on its page."
    )


async def _run(api: AsyncClient, run_id: str) -> Run | None:
    try:
        run = await api.send(client.run(run_id))
    except ApiError as error:
        if error.problem.status != 404:
            raise
        return None
    return run if run.status is Status.DONE else None


def resolve_pair(a: Choice | None, b: Choice | None, runs: Sequence[Run]) -> tuple[Choice, Choice]:
    """Return the two maps to show: those asked for, if they exist, else the newest run's by two methods."""
    first = _usable(a, runs) or Choice(runs[0].id, runs[0].methods[0])
    second = _usable(b, runs)
    if second is None:
        run = next(run for run in runs if run.id == first.run)
        others = [Choice(run.id, method) for method in run.methods if method != first.method]
        same_shape = [Choice(r.id, r.methods[0]) for r in runs if r.id != run.id and r.shapes == run.shapes]
        second = next(iter([*others, *same_shape]), Choice(first.run, first.method))
    return first, second


def _usable(choice: Choice | None, runs: Sequence[Run]) -> Choice | None:
    """Return the choice, without a class that does not exist; None where there is no such map."""
    run = next((run for run in runs if choice is not None and run.id == choice.run), None)
    if choice is None or run is None or reading_of(choice.method, run.methods) is None:
        return None
    return choice if choice.label in (None, *run.classes) else Choice(choice.run, choice.method)


def _replaced(given: Choice | None, used: Choice, runs: Sequence[Run]) -> list[str]:
    """Say where another map is shown than the link's."""
    if given is None or given == used or all(run.id != given.run for run in runs):
        return []
    if used.run == given.run and used.method == given.method:
        return [f"Run {given.run} has no class {given.label!r}. Showing all classes."]
    return [f"Run {given.run} was not scored by {given.method!r}."]


def shared(a: Run, b: Run) -> list[UnitKind]:
    """Return the kinds of unit that both runs have maps of."""
    return [kind for kind in heatmaps.PANELS if kind in a.units and kind in b.units]


def _first(kinds: Sequence[UnitKind]) -> UnitKind | None:
    return next((kind for kind in (UnitKind.HEAD, *kinds) if kind in kinds), None)


def _kinds(kinds: Sequence[UnitKind]) -> list[dict[str, str]]:
    return [{"value": k.value, "label": formatting.PLURALS[k].capitalize()} for k in kinds]


def _skeleton() -> Any:
    return dmc.Stack([dmc.Skeleton(h=110, radius="md", mt="md"), dmc.Skeleton(h=260, radius="md")], gap="md")


def _side(name: str, choice: Choice, runs: Sequence[Run], infos: dict[str, MethodInfo]) -> Any:
    run = next(run for run in runs if run.id == choice.run)
    letter = name.upper()
    return dmc.Paper(
        [
            dmc.Title(letter, order=2, size="h4", mb=4),
            dmc.Select(
                id={"type": "compare-run", "side": name},
                label=f"Run of {letter}",
                data=[{"value": r.id, "label": _title(r)} for r in runs],
                value=run.id,
                allowDeselect=False,
                searchable=True,
            ),
            dmc.Group(
                [
                    dmc.Select(
                        id={"type": "compare-method", "side": name},
                        label=f"Method of {letter}",
                        data=_methods(run, infos, choice.method),
                        value=choice.method,
                        allowDeselect=False,
                        style={"flex": 1},
                    ),
                    html.Div(
                        dmc.Select(
                            id={"type": "compare-class", "side": name},
                            label=f"Class of {letter}",
                            data=_classes(run),
                            value=choice.label or ALL_CLASSES,
                            allowDeselect=False,
                            searchable=True,
                        ),
                        id={"type": "compare-classes", "side": name},
                        hidden=not run.classes,
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
    return f"{run.model.partition(':')[2]} on {run.task}, seed {run.seed} · {formatting.ago(run.created)} · {run.id}"


def _methods(run: Run, infos: dict[str, MethodInfo], also: str | None = None) -> list[dict[str, str]]:
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
    Output("compare-body", "children"),
    Output("compare-unit", "data"),
    Output("compare-unit", "value"),
    Output("compare-address", "data"),
    Output("compare-problem", "children"),
    *SIDES,
    Input("compare-unit", "value"),
    Input("compare-top", "value"),
    running=[(Output("compare-body", "className"), "pending", "")],
)
async def compare_maps(
    run_a: str,
    method_a: str,
    class_a: str,
    run_b: str,
    method_b: str,
    class_b: str,
    unit: str,
    top: float,
    *,
    api: AsyncClient,
    maps: MapCache,
) -> Any:
    """Compare the chosen maps, and put them into the address."""
    choices = Choice(run_a, method_a, class_a or None), Choice(run_b, method_b, class_b or None)
    try:
        runs = [await api.send(client.run(choice.run)) for choice in choices]
        kinds = shared(*runs)
        kind = next((known for known in kinds if known.value == unit), None) or _first(kinds)
        if kind is None:
            return _no_kind(*runs), [], "", None, None
        importance_maps = [await maps.whole(c.run, c.method, kind, c.label) for c in choices]
    except ModelShapleyError as error:
        return no_update, no_update, no_update, no_update, empty_states.failure(error)
    a, b = (Side(*parts) for parts in zip(runs, choices, importance_maps, strict=True))
    share = min(TOPS, key=lambda known: abs(known - top))
    # In a thread, since sorting millions of scores takes a second and would block other people's requests.
    body = await asyncio.to_thread(compare_view.view, a, b, kind, share)
    return body, _kinds(kinds), kind.value, pair.write(*choices, kind, share), None


callbacks.include(compare_code.callbacks)
callbacks.browser(
    "pages",
    "hold",
    Output("compare-problem", "className"),
    Input("compare-address", "data"),
    prevent_initial_call=True,
)


def _no_kind(a: Run, b: Run) -> Any:
    units = [", ".join(formatting.PLURALS[kind] for kind in run.units) for run in (a, b)]
    sentence = f"A has maps of {units[0]}, B of {units[1]}. Choose runs that share a kind of unit."
    return empty_states.state("These maps cannot be compared", sentence, order=2)
