"""The runs page: the list of runs with a filter, and the link to a new one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.links import link
from frontend.pages.runs import bulk, run_filter
from frontend.pages.runs.card_cache import CardCache
from frontend.pages.runs.run_card import action_id, card, title_of
from frontend.pages.runs.run_filter import DELETED, STATUSES, RunFilter
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.submit import form
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, RunOrder, RunPage, Status, WorkerInfo
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()

PAGE_SIZE = 20
BUSY_MS, IDLE_MS = 1000, 5000
HIDDEN = {"display": "none"}
ORDERS: dict[RunOrder, str] = {"newest": "Newest", "model": "By model", "tag": "By tag", "owner": "By key"}


async def layout(api: AsyncClient, search: str = "") -> Any:
    """Lay out the page; its list is filled by a callback. search: the query part of the address.

    Raises ModelShapleyError.
    """
    filter_ = run_filter.parse(search)
    has_owners = (await api.send(client.me())).keys_needed or filter_.order == "owner"
    return html.Section(
        [
            html.Div(
                [
                    dmc.Title("Runs", order=1, size="h2"),
                    dcc.Link("Score a model", href=link("/new"), className="button-link"),
                ],
                className="page-head",
            ),
            html.P(
                "Each run scores the neurons, heads and layers of one model on one task. "
                "Open a run to see which parts carry the task, and to switch them off.",
                className="quiet",
            ),
            _filter(filter_, [order for order in run_filter.ORDERS if has_owners or order != "owner"]),
            dcc.Interval(id="runs-tick", interval=BUSY_MS),
            dcc.Store(id="runs-seen"),
            dcc.Store(id="runs-action"),
            dcc.Store(id="runs-filter", data=asdict(filter_)),
            html.Div(id="runs-problem", role="alert"),
            html.Div(id="runs-notice", role="status"),
            bulk.layout(),
            html.Div(_skeleton(), id="runs-list"),
            dmc.Pagination(  # without its arrows, which have no names for screen readers
                id="runs-page", total=filter_.page, value=filter_.page, mt="md", withControls=False, style=HIDDEN
            ),
        ],
        className="runs",
    )


def _filter(filter_: RunFilter, orders: Sequence[RunOrder]) -> Any:
    names = {"": "All", DELETED: "deleted"} | {status.value: formatting.STATUS_WORDS[status] for status in Status}
    return html.Div(
        [
            dmc.TextInput(
                id="runs-search",
                value=filter_.search,
                placeholder="Name, model, task, method, tag",
                debounce=250,
                inputProps={"maxLength": run_filter.LONGEST},
                className="runs-search",
                **{"aria-label": "Search runs by name, model, task, method or tag"},
            ),
            dmc.SegmentedControl(
                id="runs-status",
                value=filter_.status,
                data=[{"value": status, "label": names[status].capitalize()} for status in STATUSES],
                size="xs",
                **{"aria-label": "Status of runs"},
            ),
            dmc.SegmentedControl(
                id="runs-order",
                value=filter_.order,
                data=[{"value": order, "label": ORDERS[order]} for order in orders],
                size="xs",
                **{"aria-label": "Order of runs"},
            ),
            _tag(filter_),
            html.Span(id="runs-count", className="quiet", role="status"),
        ],
        className="runs-filter",
    )


def _tag(filter_: RunFilter) -> Any:
    """The tag that the list is limited to, with a link to the list without it."""
    if not filter_.tag:
        return None
    return html.Span(
        [f"Tag: {filter_.tag} ", dcc.Link("×", href=link("/"), title="Show runs with any tag")], className="run-tag"
    )


callbacks.browser(
    "runs",
    "filter",
    Output("runs-filter", "data"),
    Output("runs-page", "value"),
    Input("runs-search", "value"),
    Input("runs-status", "value"),
    Input("runs-order", "value"),
    Input("runs-page", "value"),
    State("runs-filter", "data"),
)


@callbacks.server(
    Output("runs-list", "children"),
    Output("runs-seen", "data"),
    Output("runs-count", "children"),
    Output("runs-page", "total"),
    Output("runs-page", "style"),
    Output("runs-tick", "interval"),
    Output("runs-problem", "children"),
    Input("runs-tick", "n_intervals"),
    Input("runs-filter", "data"),
    Input("runs-action", "data"),
    State("runs-seen", "data"),
)
async def refresh_runs(
    _: int, chosen: dict[str, Any], __: Any, listed_key: str | None, *, api: AsyncClient, cards: CardCache
) -> Any:
    """List the runs of the filter, if they have changed; poll faster while one is open."""
    filter_ = run_filter.create(**chosen)
    unchanged = [no_update] * 6
    try:
        query: Any = filter_.query()
        page = await api.send(client.runs(PAGE_SIZE, (filter_.page - 1) * PAGE_SIZE, **query))
    except ModelShapleyError as error:
        # The runs on the page stay, with their last state.
        return [] if listed_key is None else no_update, *unchanged[1:], empty_states.trying_again(error)
    workers, problem = await _workers(api, page)
    key = _digest(filter_, page, workers)
    if key == listed_key:
        return *unchanged, problem
    pages = -(-page.total // PAGE_SIZE)
    style = {} if pages > 1 else HIDDEN
    tick = IDLE_MS if all(run.status.ended for run in page.items) else BUSY_MS
    count = "" if filter_.everything and not page.total else f"{page.total:,} run{'s' * (page.total != 1)}"
    return await _list(api, cards, page, filter_, workers), key, count, max(1, pages), style, tick, problem


@callbacks.server(
    Output("runs-action", "data"),
    Output("runs-notice", "children"),
    Input({"type": "run-action", "action": ALL, "run": ALL}, "n_clicks"),
    Input({"type": "demo", "at": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def act_on_run(_: list[int | None], __: list[int | None], *, api: AsyncClient) -> Any:
    """Do what a card's button says, and refresh the list."""
    # A button fires when it is drawn, too; only one that was clicked carries a number.
    if not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
        return no_update, no_update
    try:
        notice = await _act(api, ctx.triggered_id)
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return {"action": ctx.triggered_id, "clicks": ctx.triggered[0]["value"]}, notice


callbacks.include(bulk.callbacks)


async def _workers(api: AsyncClient, page: RunPage) -> tuple[list[WorkerInfo] | None, Any]:
    """Fetch the workers if a run is open, or the problem with that."""
    if all(run.status.ended for run in page.items):
        return None, None
    try:
        return await api.send(client.workers()), None
    except ModelShapleyError as error:
        return None, empty_states.trying_again(error)


def _digest(filter_: RunFilter, page: RunPage, workers: Sequence[WorkerInfo] | None) -> str:
    """Return a key that is equal for lists that look the same."""
    busy = [(worker.name, worker.current is None) for worker in workers or ()]
    ages = [formatting.ago(run.deleted or run.created) for run in page.items]
    return hashlib.sha256(f"{filter_}{page.model_dump_json()}{ages}{workers is None}{busy}".encode()).hexdigest()


async def _act(api: AsyncClient, button: dict[str, str]) -> Any:
    """Do what a button says, and return a notice about it."""
    if button["type"] == "demo":
        await api.send(client.submit_run(form.DEMO))
        return None
    run_id = button["run"]
    if button["action"] == "cancel":
        await api.send(client.cancel_run(run_id))
        return None
    if button["action"] == "again":
        run = await api.send(client.run(run_id))
        new = await api.send(client.submit_run(run.request()))
        see = dcc.Link("See the run", href=link(f"/runs/{new.id}"))
        return _notice([f"Submitted {title_of(run)} again. ", see])
    if button["action"] == "delete":
        run = await api.send(client.delete_run(run_id))
        # The focused button disappears with its card; the undo button takes the focus.
        undo = html.Button("Undo", id=action_id("undo", run_id), className="plain-button", autoFocus=True)
        return _notice([f"Deleted {title_of(run)}. ", undo])
    runs = [await api.send(client.bring_back_run(each)) for each in run_id.split(",")]
    if len(runs) > 1:
        return _notice([f"Restored {len(runs)} runs."])
    return _notice([f"Restored {title_of(runs[0])}. ", dcc.Link("Open it", href=link(f"/runs/{run_id}"))])


def _notice(content: list[Any]) -> Any:
    return html.Div(content, className="notice")


def _skeleton() -> Any:
    return dmc.Stack([dmc.Skeleton(h=104, radius="md") for _ in range(2)], gap="sm")


async def _list(
    api: AsyncClient, cards: CardCache, page: RunPage, filter_: RunFilter, workers: Sequence[WorkerInfo] | None
) -> Any:
    if not page.total:
        return _no_runs(filter_)
    if not page.items:
        return empty_states.state(
            f"There is no page {filter_.page}",
            f"The list of {page.total} runs has fewer pages.",
            dcc.Link("Go to the first page", href=link("/")),
            order=2,
        )
    laid_out = [
        (run, card(run, await cards.picture(api, run), workers, await cards.trust(api, run))) for run in page.items
    ]
    if filter_.order == "newest":
        return dmc.Stack([entry for _, entry in laid_out], gap="sm")
    groups = groupby(laid_out, key=lambda pair: _group_title(pair[0], filter_))
    return [
        html.Section(
            [dmc.Title(title, order=2, size="h4", mb=6), dmc.Stack([entry for _, entry in members], gap="sm")],
            className="run-group",
        )
        for title, members in groups
    ]


def _group_title(run: Run, filter_: RunFilter) -> str:
    if filter_.order == "model":
        return formatting.model_name(run.model)
    if filter_.order == "owner":
        return run.owner or "Without a named key"
    return ", ".join(run.tags) or "Without tags"


def _no_runs(filter_: RunFilter) -> Any:
    if filter_.everything:
        return empty_states.state(
            "No runs yet",
            "Score the demo model, a small image classifier. It takes a few seconds.",
            dmc.Button("Score the demo model", id={"type": "demo", "at": "empty"}),
            order=2,
        )
    show_all = dcc.Link("Show all runs", href=link("/"))
    return empty_states.state("No matching runs", no_match(filter_), show_all, order=2)


def no_match(filter_: RunFilter) -> str:
    """Say that nothing matches: 'No failed run matches “vit”.'"""
    kinds = {
        "": "run",
        DELETED: "deleted run",
        Status.QUEUED: "waiting run",
        Status.RUNNING: "run in progress",
        Status.DONE: "finished run",
        Status.FAILED: "failed run",
        Status.CANCELLED: "cancelled run",
    }
    kind = kinds[filter_.status]
    if filter_.tag and not filter_.search:
        return f"No {kind} has the tag “{filter_.tag}”."
    if not filter_.search:
        return f"There is no {kind}."
    return f"No {kind} matches “{filter_.search}”."
