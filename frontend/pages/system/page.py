"""The system page: the state of services and workers, waiting work, recent failures."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, dcc, html

from frontend.links import link
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.system import system_view
from modelshapley import client
from modelshapley.client import AsyncClient, Call
from modelshapley.contracts import WorkerInfo
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()

TICK_MS = 2000
FAILURES = 10
UNKNOWN = html.P("Not available.", className="quiet")


def layout() -> Any:
    """Lay out the frame. A callback fills it, so that the page loads even where nothing responds."""
    waiting = dmc.Skeleton(h=72, radius="md")
    return html.Div(
        [
            dmc.Title("System", order=1, size="h2", mb="xs"),
            dcc.Interval(id="system-tick", interval=TICK_MS),
            html.Div(id="system-problem", role="alert"),
            html.Div(waiting, id="system-health"),
            _section("Workers", "system-workers", waiting),
            _section("Recent failures", "system-failures", waiting),
            html.P(dcc.Link("Keys and audit log", href=link("/keys"))),
        ],
        className="system",
    )


def _section(title: str, id_: str, body: Any) -> Any:
    return html.Section([dmc.Title(title, order=2, size="h3", mt="lg", mb="xs"), html.Div(body, id=id_)])


@callbacks.server(
    Output("system-health", "children"),
    Output("system-workers", "children"),
    Output("system-failures", "children"),
    Output("system-problem", "children"),
    Input("system-tick", "n_intervals"),
)
async def refresh_system(_: int, *, api: AsyncClient) -> Any:
    """Refresh every section; one that is not available leaves the others as they are."""
    workers, workers_error = await _ask(api, client.workers())
    queues, queues_error = await _ask(api, client.queues())
    failures, failures_error = await _ask(api, client.failures(FAILURES))
    health, _health_error = await _ask(api, client.health())
    problem = queues_error or workers_error or failures_error
    return (
        system_view.health(queues, failures is not None, workers),
        UNKNOWN if workers is None else system_view.workers(workers, await _runs_of_trials(api, workers)),
        UNKNOWN if failures is None else system_view.failures(failures),
        empty_states.trying_again(problem) if problem is not None else health and health.problem,
    )


async def _ask(api: AsyncClient, call: Call[Any]) -> tuple[Any, ModelShapleyError | None]:
    """Return the answer of a call, or its error."""
    try:
        return await api.send(call), None
    except ModelShapleyError as error:
        return None, error


async def _runs_of_trials(api: AsyncClient, workers: list[WorkerInfo]) -> dict[str, str]:
    """Return the run of each trial that a worker is measuring."""
    runs = {}
    for worker in workers:
        kind, _, trial = (worker.current or "").partition(":")
        answer = (await _ask(api, client.trial(trial)))[0] if kind == "trial" else None
        if answer is not None:
            runs[trial] = answer.run
    return runs
