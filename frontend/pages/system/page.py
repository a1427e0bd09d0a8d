"""System: is the machinery well, what has it in hand, what waits, and what failed."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, dcc, html

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
UNKNOWN = html.P("Not known now.", className="quiet")


def layout() -> Any:
    """The frame; what it holds comes by itself, so that it stands where nothing answers."""
    waiting = dmc.Skeleton(h=72, radius="md")
    return html.Div(
        [
            dmc.Title("System", order=1, size="h2", mb="xs"),
            dcc.Interval(id="system-tick", interval=TICK_MS),
            html.Div(id="system-problem", role="alert"),
            html.Div(waiting, id="system-health"),
            _section("Workers", "system-workers", waiting),
            _section("Recent failures", "system-failures", waiting),
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
    workers, no_workers = await _ask(api, client.workers())
    queues, no_queues = await _ask(api, client.queues())
    failures, no_failures = await _ask(api, client.failures(FAILURES))
    problem = no_queues or no_workers or no_failures
    return (
        system_view.health(queues, failures is not None, workers),
        UNKNOWN if workers is None else system_view.workers(workers, await _runs_of_trials(api, workers)),
        UNKNOWN if failures is None else system_view.failures(failures),
        empty_states.trying_again(problem) if problem is not None else None,
    )


async def _ask(api: AsyncClient, call: Call[Any]) -> tuple[Any, ModelShapleyError | None]:
    """The answer, or what went wrong: one part that is away must not take the others along."""
    try:
        return await api.send(call), None
    except ModelShapleyError as error:
        return None, error


async def _runs_of_trials(api: AsyncClient, workers: list[WorkerInfo]) -> dict[str, str]:
    """The runs that the trials in hand belong to, by trial."""
    found = {}
    for worker in workers:
        kind, _, trial = (worker.current or "").partition(":")
        answer = (await _ask(api, client.trial(trial)))[0] if kind == "trial" else None
        if answer is not None:
            found[trial] = answer.run
    return found
