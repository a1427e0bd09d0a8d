"""Runs: what has been scored, what is being scored, score something."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from frontend import figures, words
from frontend.links import link
from frontend.pages import form, states
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, RunPage, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

PAGE_SIZE = 20
BUSY_MS, IDLE_MS = 1000, 5000
PICTURES_KEPT = 200
COLOURS = {
    Status.QUEUED: "gray",
    Status.RUNNING: "blue",
    Status.DONE: "teal",
    Status.FAILED: "red",
    Status.CANCELLED: "gray",
}


async def layout(api: AsyncClient, search: str = "") -> Any:
    """List on the left, form on the right; `?task=NAME` chooses a task in it."""
    task = parse_qs(search.removeprefix("?")).get("task", [None])[-1]
    return html.Div(
        [
            html.Section(
                [
                    dmc.Title("Runs", order=1, size="h2", mb="xs"),
                    html.P(
                        "Each run scores the neurons, heads and layers of one model on one task. "
                        "Open one to see which parts carry the task, and switch them off.",
                        className="quiet",
                    ),
                    dcc.Interval(id="runs-tick", interval=BUSY_MS),
                    dcc.Store(id="runs-seen"),
                    html.Div(id="runs-problem"),
                    html.Div(_skeleton(), id="runs-list"),
                    dmc.Pagination(  # its arrows have no names for screen readers; the numbers have
                        id="runs-page", total=1, value=1, mt="md", withControls=False, style={"display": "none"}
                    ),
                ]
            ),
            html.Aside(await form.layout(api, task)),
        ],
        className="runs-grid",
    )


def register(app: Dash, api: AsyncClient) -> None:
    form.register(app, api)
    pictures: dict[str, str] = {}

    @app.callback(
        Output("runs-list", "children"),
        Output("runs-seen", "data"),
        Output("runs-page", "total"),
        Output("runs-page", "style"),
        Output("runs-tick", "interval"),
        Output("runs-problem", "children"),
        Input("runs-tick", "n_intervals"),
        Input("runs-page", "value"),
        Input("submitted", "data"),
        Input({"type": "cancel", "run": ALL}, "n_clicks"),
        State("runs-seen", "data"),
    )
    async def _refresh(_: int, number: int, __: Any, ___: list[int | None], seen: str | None) -> Any:
        unchanged = [no_update] * 5
        try:
            # A button that has just been drawn fires too; only one that was clicked carries a number.
            if isinstance(ctx.triggered_id, dict) and ctx.triggered[0]["value"]:
                await api.send(client.cancel_run(ctx.triggered_id["run"]))
            page = await api.send(client.runs(PAGE_SIZE, (number - 1) * PAGE_SIZE))
        except ModelShapleyError as error:
            return *unchanged, states.failure(error)
        now = page.model_dump_json() + "".join(words.ago(run.created) for run in page.items)
        if now == seen:
            return *unchanged, None
        pages = -(-page.total // PAGE_SIZE)
        style = {} if pages > 1 else {"display": "none"}
        tick = IDLE_MS if all(run.status.ended for run in page.items) else BUSY_MS
        return await _list(api, page, pictures), now, max(1, pages), style, tick, None


def _skeleton() -> Any:
    return dmc.Stack([dmc.Skeleton(h=104, radius="md") for _ in range(2)], gap="sm")


async def _list(api: AsyncClient, page: RunPage, pictures: dict[str, str]) -> Any:
    if not page.total:
        return states.state(
            "Nothing scored yet",
            "Score the demo model: a small image classifier, done in seconds.",
            dmc.Button("Score the demo model", id={"type": "demo", "at": "empty"}),
            order=2,
        )
    return dmc.Stack([_card(run, await _picture(api, run, pictures)) for run in page.items], gap="sm")


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
        pictures[run.id] = figures.thumbnail(data)
        if len(pictures) > PICTURES_KEPT:
            del pictures[next(iter(pictures))]
    return pictures[run.id]


def _card(run: Run, picture: str | None) -> Any:
    href = link(f"/runs/{run.id}")
    seen = (
        html.Img(src=picture, alt="Importance by layer (rows); stronger colour: the task needs it more")
        if picture
        else dmc.Text("no map" if run.status.ended else "…", c="dimmed", size="sm")
    )
    title = dcc.Link(f"{run.model.partition(':')[2]} on {run.task}", href=href, className="title")
    badge = dmc.Badge(words.STATUS_WORDS[run.status], color=COLOURS[run.status], variant="light", size="sm")
    lines: list[Any] = [
        dmc.Group([title, badge], gap="sm"),
        html.Div(
            f"{', '.join(run.methods)} · {', '.join(run.units)} · {words.ago(run.created)}", className="quiet"
        ),
    ]
    if run.error:
        lines.append(dmc.Text(run.error, c="red", size="sm", mt=4))
    if not run.status.ended:
        lines += _progress(run)
    return dmc.Paper(
        html.Div(
            [
                html.Div(seen, className="run-picture"),
                html.Div(lines),
                html.Div(_side(run, href), className="run-side"),
            ],
            className="run-card",
        ),
        withBorder=True,
        p="md",
        radius="md",
        id=f"run-{run.id}",
    )


def _progress(run: Run) -> list[Any]:
    share = 100 * run.progress.done / run.progress.total if run.progress.total else 0
    return [
        dmc.Progress(value=share, size="sm", mt=8, **{"aria-label": "share of the probe examples scored"}),
        dmc.Text(words.progress(run), size="sm", c="dimmed", mt=2),
    ]


def _side(run: Run, href: str) -> list[Any]:
    if run.status is Status.DONE and run.intact is not None:
        return [
            html.Div(words.percent(run.intact.accuracy), className="run-figure"),
            html.Div("intact accuracy", className="quiet"),
            html.Div(f"{words.percent_interval(run.intact.interval)}, n {run.intact.n}", className="quiet"),
            dcc.Link("Open the map", href=href),
        ]
    if not run.status.ended:
        label = {"aria-label": f"Cancel {run.model} on {run.task}"}
        cancel = dmc.Button("Cancel", id={"type": "cancel", "run": run.id}, variant="default", size="xs", **label)
        return [cancel]
    return []
