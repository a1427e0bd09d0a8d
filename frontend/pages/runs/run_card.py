"""One run in the list: what it is, how it goes, what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from frontend import address
from frontend.links import link
from modelshapley import formatting
from modelshapley.contracts import Run, Status, WorkerInfo
from modelshapley.evaluation.verdict import Mark, Verdict
from modelshapley.units import UnitKind

COLOURS = {
    Status.QUEUED: "gray",
    Status.RUNNING: "blue",
    Status.DONE: "teal",
    Status.FAILED: "red",
    Status.CANCELLED: "gray",
}
START_ONE = "modelshapley worker"


@dataclass(frozen=True)
class Trust:
    """What was found of the first method's map of one kind of unit, for the card."""

    verdict: Verdict
    method: str
    unit: UnitKind


def card(run: Run, picture: str | None, workers: Sequence[WorkerInfo] | None, trust: Trust | None = None) -> Any:
    """workers: those that are alive; None where nobody knows."""
    seen = (
        html.Img(src=picture, alt="Importance by layer (rows); stronger colour: the task needs it more")
        if picture
        else dmc.Text("no map" if run.status.ended else "…", c="dimmed", size="sm")
    )
    return dmc.Paper(
        html.Div(
            [
                html.Div(seen, className="run-picture"),
                html.Div(_told(run, workers, trust), className="run-words"),
                html.Div(_side(run), className="run-side"),
            ],
            className="run-card",
        ),
        withBorder=True,
        p="md",
        radius="md",
        id=f"run-{run.id}",
    )


def _told(run: Run, workers: Sequence[WorkerInfo] | None, trust: Trust | None) -> list[Any]:
    title = dcc.Link(formatting.run_title(run), href=link(f"/runs/{run.id}"), className="title")
    badge = dmc.Badge(formatting.STATUS_WORDS[run.status], color=COLOURS[run.status], variant="light", size="sm")
    when = f"deleted {formatting.ago(run.deleted)}" if run.deleted else formatting.ago(run.created)
    about = f"{', '.join(run.methods)} · {', '.join(formatting.PLURALS[kind] for kind in run.units)} · {when}"
    told: list[Any] = [dmc.Group([title, badge], gap="sm"), html.Div(about, className="quiet")]
    if run.error:
        told.append(dmc.Text(run.error, c="red", size="sm", mt=4))
    if not run.status.ended:
        told += _progress(run, workers)
    if trust is not None:
        told.append(_mark(run, trust))
    return told


def _mark(run: Run, trust: Trust) -> Any:
    """How far its map may be believed: a shape and a word, and the way to the reasons."""
    mark = trust.verdict.mark
    waits = mark is Mark.UNCHECKED and run.checks is not None and not run.checks.ended
    return html.Div(
        [
            f"Map of {formatting.PLURALS[trust.unit]}: ",
            dcc.Link(
                "is being checked" if waits else f"{mark.shape} {mark.value}",
                href=address.trust(run.id, trust.method, trust.unit),
                className=f"mark-{mark.name.lower()}",
                title=trust.verdict.sentence,
            ),
        ],
        className="run-mark",
    )


def _progress(run: Run, workers: Sequence[WorkerInfo] | None) -> list[Any]:
    if workers is not None and not workers:
        way_out = ["No worker is listening, so this waits. Start one: ", html.Code(START_ONE)]
        return [html.Div(way_out, className="run-doing")]
    return [
        dmc.Progress(value=formatting.share_done(run), size="sm", mt=8, **{"aria-label": "share that is done"}),
        html.Div(doing(run, workers), className="run-doing"),
    ]


def doing(run: Run, workers: Sequence[WorkerInfo] | None) -> str:
    """What an open run is doing: '96 of 288 examples · 41.3 a second · 4 s left · worker box-17'."""
    if run.status is Status.QUEUED:
        busy = bool(workers) and all(worker.current for worker in workers or ())
        return "waiting: every worker has something in hand" if busy else "waiting for a worker"
    if workers and run.shards == 1 and run.worker not in [worker.name for worker in workers]:
        return f"worker {run.worker} does not answer; another one goes on from the last checkpoint"
    done = run.progress
    parts = [formatting.progress(run) if run.fetching else formatting.progress(run).partition(",")[0]]
    if done.rate is not None:
        parts.append(f"{done.rate:,.3g} a second" if done.rate < 1000 else f"{done.rate:,.0f} a second")
    if done.total and done.done == done.total:
        parts.append("measuring the intact accuracy")
    elif done.eta_s is not None:
        parts.append(f"{formatting.duration(done.eta_s)} left")
    if run.worker:
        parts.append(f"{run.shards} shards" if run.shards > 1 else f"worker {run.worker}")
    return " · ".join(parts)


def _side(run: Run) -> list[Any]:
    figures: list[Any] = []
    if run.status is Status.DONE and run.intact is not None:
        figures = [
            html.Div(formatting.percent(run.intact.accuracy), className="run-figure"),
            html.Div("intact accuracy", className="quiet"),
            html.Div(f"{formatting.percent_interval(run.intact.interval)}, n {run.intact.n}", className="quiet"),
        ]
    return [*figures, html.Div(_actions(run), className="run-actions")]


def _actions(run: Run) -> list[Any]:
    if run.deleted is not None:
        return [button(run, "undo", "Bring back")]
    if not run.status.ended:
        return [button(run, "cancel", "Cancel")]
    delete = button(run, "delete", "Delete", variant="subtle", color="gray")
    if run.status is Status.DONE:
        return [delete, dcc.Link("Open the map", href=link(f"/runs/{run.id}"))]
    return [delete, button(run, "again", "Try again")]


def button(run: Run, act: str, label: str, **more: Any) -> Any:
    """A button that does something with a run; see runs.register."""
    name = {"aria-label": f"{label}: {formatting.run_title(run)}"}
    return dmc.Button(label, id=act_id(act, run.id), size="xs", **{"variant": "default", **name, **more})


def act_id(act: str, run_id: str) -> dict[str, str]:
    return {"type": "run-act", "act": act, "run": run_id}
