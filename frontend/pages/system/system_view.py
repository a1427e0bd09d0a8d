"""The parts of the system page, from contracts to components. Pure."""

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
    """The state of services, workers and queues. queues: None without Redis; workers: None where not known."""
    count = len(workers or ())
    busy = sum(worker.current is not None for worker in workers or ())
    entries = [
        _light("Redis", queues is not None, "connected" if queues is not None else "not connected"),
        _light("Database", database, "connected" if database else "not connected"),
        _light(
            "Workers",
            count > 0,
            "unknown" if workers is None else f"{count} running, {busy} busy" if count else "none running",
        ),
    ]
    entries += [_fact(f"{queue.name} waiting", f"{queue.waiting:,}") for queue in queues or ()]
    return html.Dl(entries, className="lights")


def _light(name: str, ok: bool, state: str) -> Any:
    mark = html.Span("✓" if ok else "✗", className="well" if ok else "unwell", **{"aria-hidden": "true"})
    return html.Div([html.Dt(name), html.Dd([mark, state])])


def _fact(name: str, value: str) -> Any:
    return html.Div([html.Dt(name.capitalize()), html.Dd(value)])


def workers(infos: Sequence[WorkerInfo], runs: Mapping[str, str], now: datetime | None = None) -> Any:
    """A card for each worker. runs: those of the trials being measured, by trial."""
    if not infos:
        remedy = "No worker is running, so submitted work waits. Start one: "
        return html.P([remedy, html.Code("modelshapley worker", className="code")])
    return html.Div([_worker(worker, runs, now or datetime.now(UTC)) for worker in infos], className="workers")


def _worker(worker: WorkerInfo, runs: Mapping[str, str], now: datetime) -> Any:
    warm = worker.warm
    device = f"{warm.device}, {warm.dtype}" if warm and warm.device else "device unknown"
    facts = [f"host {worker.host}", f"process {worker.pid}", device, heartbeat(worker, now), *time_of_job(worker, now)]
    return dmc.Paper(
        [
            dmc.Group(
                [
                    html.H3(worker.name),
                    _badge(worker),
                    html.Div(activity(worker.current, runs)),
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
    """Write the age of a worker's last heartbeat."""
    if worker.last_heartbeat is None:
        return "no heartbeat yet"
    seconds = max(0.0, (now - worker.last_heartbeat).total_seconds())
    return f"heartbeat {formatting.duration(seconds)} ago"


def time_of_job(worker: WorkerInfo, now: datetime) -> list[str]:
    """Say for how long a worker has been at its job, and how much is left."""
    if worker.current is None or worker.since is None:
        return []
    spent = formatting.duration(max(0.0, (now - worker.since).total_seconds()))
    left = f", about {formatting.duration(worker.eta_s)} left" if worker.eta_s is not None else ""
    return [f"at this job for {spent}{left}"]


def activity(current: str | None, runs: Mapping[str, str]) -> Any:
    """Say what a worker is doing, with a link to the run where that is known."""
    kind, _, identifier = (current or "").partition(":")
    if not kind:
        return "no job"
    if kind == "task":
        return "previewing a task"
    run, _, shard = identifier.partition(":")
    verb = {"run": "scoring ", "check": "checking maps of "}.get(kind, "")
    if shard:
        verb = f"scoring shard {shard} of "
    if kind == "trial":
        verb, run = "measuring a trial on ", runs.get(identifier, "")
    return html.Span([verb, dcc.Link(f"run {run}", href=link(f"/runs/{run}")) if run else "a run"])


def _memory(warm: Warm) -> list[Any]:
    models = [
        f"{formatting.model_name(model.model)} ({bytes_as_text(model.bytes)}, {model.dtype}{', in use' * model.in_use})"
        for model in warm.models
    ]
    probes = [
        f"{formatting.model_name(probe.model)} on {probe.task}, seed {probe.seed} "
        f"({f'not cached: {probe.refused}' if probe.refused else bytes_as_text(probe.bytes)})"
        for probe in warm.probes
    ]
    device = f"; the device has {bytes_as_text(warm.memory)}" if warm.memory else ""
    verified = [
        html.Div(f"{formatting.model_name(model.model)}: {' '.join(model.notes) or 'all checks passed'}")
        for model in warm.models
    ]
    return [
        _bar("Models in memory", sum(model.bytes for model in warm.models), warm.model_budget, device, models),
        *([html.Div([html.B("Verified at loading"), *verified], className="memory")] if verified else []),
        _bar("Cached hidden states", sum(probe.bytes for probe in warm.probes), warm.probe_budget, "", probes),
    ]


def _bar(name: str, used: int, budget: int, device: str, entries: Sequence[str]) -> Any:
    share = 100 * used / budget if budget else 0
    usage = f"{bytes_as_text(used)} of {bytes_as_text(budget)} ({share:.0f} %){device}" if budget else "disabled"
    return html.Div(
        [
            html.Div([html.B(name), html.Span(usage)], className="bar-text"),
            dmc.Progress(value=min(share, 100), size="sm", **{"aria-label": f"{name}: {usage}"}),
            html.Div(" · ".join(entries) or "empty", className="quiet"),
        ],
        className="memory",
    )


def failures(recent: Sequence[Failure]) -> Any:
    """The list of recent failures, each with its error."""
    if not recent:
        return html.P("No failures.", className="quiet")
    return html.Ul([_failure(failure) for failure in recent], className="failures")


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
