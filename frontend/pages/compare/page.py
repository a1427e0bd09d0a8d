"""The compare page: what differs between the maps that its address names, two to eight of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, ctx, dcc, html, no_update

from frontend.links import link
from frontend.map_cache import MapCache
from frontend.pages.compare import address, choosers, compare_code, compare_view, matrix_view
from frontend.pages.compare.address import TOPS
from frontend.pages.compare.matrix_cache import MatrixCache
from frontend.pages.compare.names import Candidate, names
from frontend.pages.compare.pair import Side
from frontend.pages.compare.resolve import LISTED, first_kind, load_runs, notices, resolve, shared
from frontend.pages.shared import code, empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, Run
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.rank_matrix import RankMatrix
from modelshapley.units import UnitKind

callbacks = Callbacks()


async def layout(api: AsyncClient, search: str) -> Any:
    """Lay out the page with the maps of the address. Raises ModelShapleyError."""
    wanted = address.parse(search)
    runs, total, missing = await load_runs(api, wanted.maps)
    if not runs:
        return empty_states.state(
            "Nothing to compare yet",
            "Once a model has been scored, its maps can be compared.",
            dcc.Link("Score a model", href=link("/")),
        )
    chosen, pair = resolve(wanted, runs)
    infos = await _method_infos(api)
    sentences = [*missing, *notices(wanted, chosen, runs)]
    by_id = {run.id: run for run in runs}
    kinds = shared([by_id[choice.run] for choice in chosen])
    return html.Div(
        [
            dcc.Store(id="compare-address"),
            dcc.Store(id="compare-pair", data=list(pair)),
            dcc.Store(id="compare-names"),
            dmc.Title("Compare maps", order=1, size="h2"),
            html.P(
                "Maps by different methods, on different tasks or classes, or of different checkpoints: where do they "
                "agree, and which units matter in only one?",
                className="quiet",
            ),
            _older(total),
            dmc.Alert(" ".join(sentences), color="yellow", variant="light", mb="sm") if sentences else None,
            choosers.layout(chosen, runs, infos),
            _controls(kinds, first_kind(kinds, wanted.unit), wanted.top),
            html.Div(id="compare-problem"),
            html.Div(_skeleton(), id="compare-body"),
        ]
    )


async def _method_infos(api: AsyncClient) -> dict[str, MethodInfo]:
    return {info.id: info for info in await api.send(client.methods())}


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


def _kinds(kinds: Sequence[UnitKind]) -> list[dict[str, str]]:
    return [{"value": k.value, "label": formatting.PLURALS[k].capitalize()} for k in kinds]


def _skeleton() -> Any:
    return dmc.Stack([dmc.Skeleton(h=110, radius="md", mt="md"), dmc.Skeleton(h=260, radius="md")], gap="md")


@callbacks.server(
    Output("compare-body", "children"),
    Output("compare-unit", "data"),
    Output("compare-unit", "value"),
    Output("compare-address", "data"),
    Output("compare-names", "data"),
    Output({"type": "compare-name", "side": ALL}, "children"),
    Output("compare-problem", "children"),
    *choosers.fields(Input),
    Input("compare-pair", "data"),
    Input("compare-unit", "value"),
    Input("compare-top", "value"),
    running=[(Output("compare-body", "className"), "pending", "")],
)
async def compare_maps(
    runs: list[str],
    methods: list[str],
    labels: list[str],
    pair: list[int],
    unit: str,
    top: float,
    *,
    api: AsyncClient,
    maps: MapCache,
    matrices: MatrixCache,
) -> Any:
    """Compare the chosen maps, and put them into the address."""
    chosen = choosers.choices_of(runs, methods, labels)
    one, other = pair if max(pair) < len(chosen) else (0, 1)
    try:
        found = [await api.send(client.run(choice.run)) for choice in chosen]
        infos = await _method_infos(api)
        kinds = shared(found)
        kind = first_kind(kinds, unit)
        importance_maps = [
            await maps.whole(c.run, c.method, kind, c.label) if kind in run.units else None
            for c, run in zip(chosen, found, strict=True)
        ]
    except ModelShapleyError as error:
        return (no_update,) * 5 + ([no_update] * len(chosen), empty_states.failure(error))
    candidates = [
        Candidate(run, choice, None if map_ is None else map_.provenance.get("revision"))
        for run, choice, map_ in zip(found, chosen, importance_maps, strict=True)
    ]
    titles = names(candidates, infos)
    if kind is None:
        return _no_kind(found, titles), [], "", None, titles, titles, None
    sides = [
        None if map_ is None else Side(run, choice, map_, name)
        for run, choice, map_, name in zip(found, chosen, importance_maps, titles, strict=True)
    ]
    share = min(TOPS, key=lambda known: abs(known - top))
    # In a thread, since sorting millions of scores takes a second and would block other people's requests.
    body = await asyncio.to_thread(_detail, sides, titles, (one, other), kind, share)
    if len(chosen) > 2:
        matrix = await asyncio.to_thread(matrices.get, titles, chosen, importance_maps, kind)
        body = [*await asyncio.to_thread(_overview, sides, matrix, (one, other)), *body]
    text = address.write(chosen, (one, other), kind, share)
    return body, _kinds(kinds), kind.value, text, titles, titles, None


def _detail(
    sides: Sequence[Side | None], titles: Sequence[str], pair: tuple[int, int], kind: UnitKind, top: int
) -> list[Any]:
    """Lay out the pair in detail, with a heading if there are other maps."""
    a, b = (sides[place] for place in pair)
    names_of_pair = " and ".join(titles[place] for place in pair)
    head = [html.H2(names_of_pair, id="compare-detail", tabIndex=-1)] if len(sides) > 2 else []
    if a is not None and b is not None:
        return [*head, *compare_view.view(a, b, kind, top)]
    absent = " and ".join(titles[place] for place in pair if sides[place] is None)
    sentence = f"No scores of {formatting.PLURALS[kind]} in {absent}. Choose another map or kind of unit."
    return [*head, empty_states.state("These maps cannot be compared", sentence, order=2)]


def _overview(sides: Sequence[Side | None], matrix: RankMatrix, pair: tuple[int, int]) -> list[Any]:
    """Lay out the matrix and small multiples of the maps that can be compared."""
    compared = {slot: side for slot, side in enumerate(sides) if side is not None and side.name in matrix.names}
    return matrix_view.view(list(compared.values()), matrix, list(compared), pair)


@callbacks.server(
    Output("compare-pair", "data", allow_duplicate=True),
    Input({"type": "compare-cell", "pair": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def open_pair(_: list[int | None]) -> Any:
    """Show the two maps of a cell of the matrix in detail."""
    if not ctx.triggered or not ctx.triggered[0]["value"]:  # a matrix that has just been laid out
        return no_update
    return [int(slot) for slot in ctx.triggered_id["pair"].split("-")]


callbacks.include(choosers.callbacks, compare_code.callbacks)
callbacks.browser(
    "pages",
    "compared",
    Output("compare-problem", "className"),
    Input("compare-address", "data"),
    prevent_initial_call=True,
)


def _no_kind(runs: Sequence[Run], titles: Sequence[str]) -> Any:
    scored = [
        f"{title} has {', '.join(formatting.PLURALS[kind] for kind in run.units)}"
        for title, run in zip(titles, runs, strict=True)
    ]
    sentence = f"{'; '.join(scored)}. Choose runs that share a kind of unit."
    return empty_states.state("These maps cannot be compared", sentence, order=2)
