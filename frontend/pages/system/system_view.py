"""What the System page says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from frontend.links import link
from modelshapley import formatting
from modelshapley.contracts import Failure, QueueInfo, Warm, WorkerInfo
from modelshapley.formatting import bytes_as_text

KINDS = {"run": "run", "trial": "trial on", "check": "check of"}


def health(queues: Sequence[QueueInfo] | None, database: bool, workers: Sequence[WorkerInfo] | None) -> Any:
    """queues: None where Redis does not answer; workers: None where nobody knows."""
    count = len(workers or ())
    busy = sum(worker.current is not None for worker in workers or ())
    told = [
        _light("Redis", queues is not None, "answers" if queues is not None else "does not answer"),
        _light("Database", database, "answers" if database else "does not answer"),
        _light(
            "Workers",
            count > 0,
            "not known" if workers is None else f"{count} listening, {busy} busy" if count else "none listening",
        ),
    ]
    for queue in queues or ():
        told.append(_fact(f"{queue.name} waiting", f"{queue.waiting:,}"))
    return html.Dl(told, className="lights")


def _light(name: str, well: bool, says: str) -> Any:
    mark = html.Span("✓" if well else "✗", className="well" if well else "unwell", **{"aria-hidden": "true"})
    return html.Div([html.Dt(name), html.Dd([mark, says])])


def _fact(name: str, value: str) -> Any:
    return html.Div([html.Dt(name.capitalize()), html.Dd(value)])


def workers(there: Sequence[WorkerInfo], runs: Mapping[str, str], now: datetime | None = None) -> Any:
    """runs: of the trials in hand."""
    if not there:
        way_out = ["No worker is listening, so everything that is submitted waits. Start one: "]
        return html.P([*way_out, html.Code("modelshapley worker", className="code")])
    return html.Div([_worker(worker, runs, now or datetime.now(UTC)) for worker in there], className="workers")


def _worker(worker: WorkerInfo, runs: Mapping[str, str], now: datetime) -> Any:
    warm = worker.warm
    device = f"{warm.device}, {warm.dtype}" if warm and warm.device else "device not told yet"
    facts = [f"host {worker.host}", f"process {worker.pid}", device, heartbeat(worker, now)]
    return dmc.Paper(
        [
            dmc.Group(
                [
                    html.H3(worker.name),
                    _badge(worker),
                    html.Div(in_hand(worker.current, runs)),
                ],
                gap="sm",
            ),
            html.Div(" · ".join(facts), className="quiet"),
            *(_memory(warm) if warm else []),
        ],
        withBorder=True,
        p="md",
        radius="md",
    )


def _badge(worker: WorkerInfo) -> Any:
    busy = worker.current is not None
    return dmc.Badge("busy" if busy else worker.state, color="blue" if busy else "gray", variant="light")


def heartbeat(worker: WorkerInfo, now: datetime) -> str:
    if worker.last_heartbeat is None:
        return "no heartbeat yet"
    seconds = max(0.0, (now - worker.last_heartbeat).total_seconds())
    return f"heartbeat {formatting.duration(seconds)} ago"


def in_hand(current: str | None, runs: Mapping[str, str]) -> Any:
    """What a worker does, with a link to the run where that is known."""
    kind, _, identifier = (current or "").partition(":")
    if not kind:
        return "nothing in hand"
    if kind == "task":
        return "looks at a task"
    run, _, shard = identifier.partition(":")
    what = {"run": "scores ", "check": "checks the maps of "}.get(kind, "")
    if shard:
        what = f"scores shard {shard} of "
    if kind == "trial":
        what, run = "measures a trial on ", runs.get(identifier, "")
    return html.Span([what, dcc.Link(f"run {run}", href=link(f"/runs/{run}")) if run else "a run"])


def _memory(warm: Warm) -> list[Any]:
    models = [
        f"{formatting.model_name(kept.model)} ({bytes_as_text(kept.bytes)}, {kept.dtype}{', in use' * kept.in_use})"
        for kept in warm.models
    ]
    probes = [
        f"{formatting.model_name(kept.model)} on {kept.task}, seed {kept.seed} "
        f"({f'none: {kept.refused}' if kept.refused else bytes_as_text(kept.bytes)})"
        for kept in warm.probes
    ]
    of = f"; the device has {bytes_as_text(warm.memory)}" if warm.memory else ""
    return [
        _bar("Models", sum(kept.bytes for kept in warm.models), warm.model_budget, of, models),
        _bar("Hidden states", sum(kept.bytes for kept in warm.probes), warm.probe_budget, "", probes),
    ]


def _bar(name: str, used: int, budget: int, of: str, kept: Sequence[str]) -> Any:
    share = 100 * used / budget if budget else 0
    told = f"{bytes_as_text(used)} of {bytes_as_text(budget)} ({share:.0f} %){of}" if budget else "keeps none"
    return html.Div(
        [
            html.Div([html.B(name), html.Span(told)], className="bar-text"),
            dmc.Progress(value=min(share, 100), size="sm", **{"aria-label": f"{name}: {told}"}),
            html.Div(" · ".join(kept) or "nothing kept yet", className="quiet"),
        ],
        className="memory",
    )


def failures(found: Sequence[Failure]) -> Any:
    if not found:
        return html.P("Nothing has failed.", className="quiet")
    return html.Ul([_failure(failure) for failure in found], className="failures")


def _failure(failure: Failure) -> Any:
    title = f"{KINDS[failure.kind]} {formatting.model_name(failure.model)} on {failure.task}"
    return html.Li(
        [
            html.Div(
                [
                    dcc.Link(title[0].upper() + title[1:], href=link(f"/runs/{failure.run}")),
                    html.Span(formatting.ago(failure.at), className="quiet"),
                ],
                className="bar-text",
            ),
            html.Div(failure.error),
        ]
    )
