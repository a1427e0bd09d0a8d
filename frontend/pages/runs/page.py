"""Runs: what has been scored, what is being scored, and the way to score something."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from frontend.figures.thumbnail import thumbnail
from frontend.links import link
from frontend.pages.runs import run_filter
from frontend.pages.runs.run_card import Trust, act_id, card
from frontend.pages.runs.run_filter import DELETED, STATUSES, RunFilter
from frontend.pages.shared import empty_states
from frontend.pages.submit import form
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, RunPage, Status, WorkerInfo
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.verdict import verdict
from modelshapley.units import UnitKind

PAGE_SIZE = 20
BUSY_MS, IDLE_MS = 1000, 5000
PICTURES_KEPT = 200
HIDDEN = {"display": "none"}


async def layout(search: str = "") -> Any:
    """The whole page but the list, which comes by itself; `search`: the query part of the address."""
    shown = run_filter.parse(search)
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
                "Open one to see which parts carry the task, and switch them off.",
                className="quiet",
            ),
            _filter(shown),
            dcc.Interval(id="runs-tick", interval=BUSY_MS),
            dcc.Store(id="runs-seen"),
            dcc.Store(id="runs-acted"),
            dcc.Store(id="runs-filter", data={"search": shown.search, "status": shown.status, "page": shown.page}),
            html.Div(id="runs-problem", role="alert"),
            html.Div(id="runs-told", role="status"),
            html.Div(_skeleton(), id="runs-list"),
            dmc.Pagination(  # its arrows have no names for screen readers; the numbers have
                id="runs-page", total=shown.page, value=shown.page, mt="md", withControls=False, style=HIDDEN
            ),
        ],
        className="runs",
    )


def _filter(shown: RunFilter) -> Any:
    names = {"": "All", DELETED: "deleted"} | {status.value: formatting.STATUS_WORDS[status] for status in Status}
    return html.Div(
        [
            dmc.TextInput(
                id="runs-search",
                value=shown.search,
                placeholder="Model, task or method",
                debounce=250,
                inputProps={"maxLength": run_filter.LONGEST},
                className="runs-search",
                **{"aria-label": "Search runs by model, task or method"},
            ),
            dmc.SegmentedControl(
                id="runs-status",
                value=shown.status,
                data=[{"value": status, "label": names[status].capitalize()} for status in STATUSES],
                size="xs",
                **{"aria-label": "Show runs that are"},
            ),
            html.Span(id="runs-count", className="quiet", role="status"),
        ],
        className="runs-filter",
    )


def register(app: Dash, api: AsyncClient) -> None:
    pictures: dict[str, str] = {}
    trusts: dict[str, Trust] = {}

    app.clientside_callback(
        ClientsideFunction("runs", "filter"),
        Output("runs-filter", "data"),
        Output("runs-page", "value"),
        Input("runs-search", "value"),
        Input("runs-status", "value"),
        Input("runs-page", "value"),
        State("runs-filter", "data"),
    )

    @app.callback(
        Output("runs-list", "children"),
        Output("runs-seen", "data"),
        Output("runs-count", "children"),
        Output("runs-page", "total"),
        Output("runs-page", "style"),
        Output("runs-tick", "interval"),
        Output("runs-problem", "children"),
        Input("runs-tick", "n_intervals"),
        Input("runs-filter", "data"),
        Input("runs-acted", "data"),
        State("runs-seen", "data"),
    )
    async def _refresh(_: int, chosen: dict[str, Any], __: Any, seen: str | None) -> Any:
        wanted = run_filter.of(**chosen)
        unchanged = [no_update] * 6
        try:
            asked: Any = wanted.asked()
            page = await api.send(client.runs(PAGE_SIZE, (wanted.page - 1) * PAGE_SIZE, **asked))
        except ModelShapleyError as error:
            # Runs that were shown stay; their numbers are those of before.
            return [] if seen is None else no_update, *unchanged[1:], empty_states.trying_again(error)
        workers, problem = await _workers(api, page)
        now = _digest(wanted, page, workers)
        if now == seen:
            return *unchanged, problem
        pages = -(-page.total // PAGE_SIZE)
        style = {} if pages > 1 else HIDDEN
        tick = IDLE_MS if all(run.status.ended for run in page.items) else BUSY_MS
        count = "" if wanted.everything and not page.total else f"{page.total:,} run{'s' * (page.total != 1)}"
        shown = await _list(api, page, wanted, workers, pictures, trusts)
        return shown, now, count, max(1, pages), style, tick, problem

    @app.callback(
        Output("runs-acted", "data"),
        Output("runs-told", "children"),
        Input({"type": "run-act", "act": ALL, "run": ALL}, "n_clicks"),
        Input({"type": "demo", "at": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
    async def _act(_: list[int | None], __: list[int | None]) -> Any:
        # A button that has just been drawn fires too; only one that was clicked carries a number.
        if not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
            return no_update, no_update
        try:
            told = await _done(api, ctx.triggered_id)
        except ModelShapleyError as error:
            return no_update, empty_states.failure(error)
        return {"act": ctx.triggered_id, "clicks": ctx.triggered[0]["value"]}, told


async def _workers(api: AsyncClient, page: RunPage) -> tuple[list[WorkerInfo] | None, Any]:
    """Who is there to do the open runs, and what to say where nobody can tell."""
    if all(run.status.ended for run in page.items):
        return None, None
    try:
        return await api.send(client.workers()), None
    except ModelShapleyError as error:
        return None, empty_states.trying_again(error)


def _digest(wanted: RunFilter, page: RunPage, workers: Sequence[WorkerInfo] | None) -> str:
    """Equal for lists that look alike."""
    crew = [(worker.name, worker.current is None) for worker in workers or ()]
    moments = [formatting.ago(run.deleted or run.created) for run in page.items]
    return hashlib.sha256(f"{wanted}{page.model_dump_json()}{moments}{workers is None}{crew}".encode()).hexdigest()


async def _done(api: AsyncClient, button: dict[str, str]) -> Any:
    """Do what a button says; what to tell about it."""
    if button["type"] == "demo":
        await api.send(client.submit_run(form.DEMO))
        return None
    run_id = button["run"]
    if button["act"] == "cancel":
        await api.send(client.cancel_run(run_id))
        return None
    if button["act"] == "again":
        run = await api.send(client.run(run_id))
        again = await api.send(client.submit_run(run.request()))
        return _notice(
            [
                f"{formatting.run_title(run)} is queued again. ",
                dcc.Link("Watch it", href=link(f"/runs/{again.id}")),
            ]
        )
    if button["act"] == "delete":
        run = await api.send(client.delete_run(run_id))
        # The button that had the focus is gone with its card; the way back takes it.
        undo = html.Button("Undo", id=act_id("undo", run_id), className="plain-button", autoFocus=True)
        return _notice([f"{formatting.run_title(run)} was deleted. ", undo])
    run = await api.send(client.bring_back_run(run_id))
    return _notice([f"{formatting.run_title(run)} is back. ", dcc.Link("Open it", href=link(f"/runs/{run_id}"))])


def _notice(told: list[Any]) -> Any:
    return html.Div(told, className="notice")


def _skeleton() -> Any:
    return dmc.Stack([dmc.Skeleton(h=104, radius="md") for _ in range(2)], gap="sm")


async def _list(
    api: AsyncClient,
    page: RunPage,
    wanted: RunFilter,
    workers: Sequence[WorkerInfo] | None,
    pictures: dict[str, str],
    trusts: dict[str, Trust],
) -> Any:
    if not page.total:
        return _nothing(wanted)
    if not page.items:
        return empty_states.state(
            f"There is no page {wanted.page}",
            f"{page.total} runs fill fewer pages.",
            dcc.Link("To the first page", href=link("/")),
            order=2,
        )
    cards = [
        card(run, await _picture(api, run, pictures), workers, await _trust(api, run, trusts)) for run in page.items
    ]
    return dmc.Stack(cards, gap="sm")


def _nothing(wanted: RunFilter) -> Any:
    if wanted.everything:
        return empty_states.state(
            "Nothing scored yet",
            "Score the demo model: a small image classifier, done in seconds.",
            dmc.Button("Score the demo model", id={"type": "demo", "at": "empty"}),
            order=2,
        )
    return empty_states.state("No such runs", nothing_words(wanted), dcc.Link("Show all runs", href=link("/")), order=2)


def nothing_words(wanted: RunFilter) -> str:
    """'No failed run has “vit” in its model, task or methods.'"""
    kinds = {
        "": "run",
        DELETED: "deleted run",
        Status.QUEUED: "waiting run",
        Status.RUNNING: "run that is being scored",
        Status.DONE: "finished run",
        Status.FAILED: "failed run",
        Status.CANCELLED: "cancelled run",
    }
    kind = kinds[wanted.status]
    if not wanted.search:
        return f"There is no {kind}."
    return f"No {kind} has “{wanted.search}” in its model, task or methods."


async def _trust(api: AsyncClient, run: Run, trusts: dict[str, Trust]) -> Trust | None:
    """The verdict on the first method's map of heads (or what there is); kept once its check has ended."""
    if run.status is not Status.DONE or run.checks is None:
        return None
    key = f"{run.id} {run.checks.value}"
    if key in trusts:
        return trusts[key]
    kind = next(k for k in (UnitKind.HEAD, *UnitKind) if k in run.units)
    try:
        report = await api.send(client.faithfulness(run.id))
    except ModelShapleyError:
        return None  # as for the picture
    found = Trust(verdict(report, run.methods[0], kind), run.methods[0], kind)
    if run.checks.ended:
        trusts[key] = found
        if len(trusts) > PICTURES_KEPT:
            del trusts[next(iter(trusts))]
    return found


async def _picture(api: AsyncClient, run: Run, pictures: dict[str, str]) -> str | None:
    """The map of heads (or what there is) in small; made once a run."""
    if run.status is not Status.DONE or not run.maps:
        return None
    if run.id not in pictures:
        kind = next(k for k in (UnitKind.HEAD, *UnitKind) if k in run.units)
        try:
            data = await api.send(client.importance_map(run.id, run.methods[0], kind, columns=32))
        except ModelShapleyError:
            return None  # the list must not fail for want of a picture; the run's page says what is wrong
        pictures[run.id] = thumbnail(data)
        if len(pictures) > PICTURES_KEPT:
            del pictures[next(iter(pictures))]
    return pictures[run.id]
