"""The card of one run in the list: what it is, its progress, its actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import dcc, html

from frontend import address
from frontend.links import link
from modelshapley import formatting
from modelshapley.contracts import Mark, Run, Status, Verdict, WorkerInfo
from modelshapley.units import UnitKind

COLOURS = {
    Status.QUEUED: "gray",
    Status.RUNNING: "blue",
    Status.DONE: "teal",
    Status.FAILED: "red",
    Status.CANCELLED: "gray",
}
SYMBOLS = {
    Status.QUEUED: "◷",
    Status.RUNNING: "▶",
    Status.DONE: "✓",
    Status.FAILED: "!",
    Status.CANCELLED: "⊘",
}
START_COMMAND = "modelshapley worker"


@dataclass(frozen=True)
class Trust:
    """The verdict on a run's map: that of its first method, of one kind of unit."""

    verdict: Verdict
    method: str
    unit: UnitKind


def card(run: Run, picture: str | None, workers: Sequence[WorkerInfo] | None, trust: Trust | None = None) -> Any:
    """Lay out the card. workers: those that are alive; None where that is not known."""
    image = (
        html.Img(src=picture, alt="Importance by layer (rows); stronger colour: more important")
        if picture
        else dmc.Text("no map" if run.status.ended else "…", c="dimmed", size="sm")
    )
    pick = dmc.Checkbox(
        id={"type": "run-pick", "run": run.id},
        size="xs",
        className="run-pick",
        **{"aria-label": f"Choose {title_of(run)}"},
    )
    return dmc.Paper(
        html.Div(
            [
                pick if run.status.ended and run.deleted is None else None,
                html.Div(image, className="run-picture"),
                html.Div(_text(run, workers, trust), className="run-text"),
                html.Div(_side(run), className="run-side"),
            ],
            className="run-card",
        ),
        withBorder=True,
        p="md",
        radius="md",
        id=f"run-{run.id}",
        className=f"is-{run.status.value}",
    )


def title_of(run: Run) -> str:
    """Return the name that people gave a run, or what it scores."""
    return run.name or formatting.run_title(run)


def _text(run: Run, workers: Sequence[WorkerInfo] | None, trust: Trust | None) -> list[Any]:
    title = dcc.Link(title_of(run), href=link(f"/runs/{run.id}"), className="title")
    badge = dmc.Badge(
        f"{SYMBOLS[run.status]} {formatting.STATUS_WORDS[run.status]}",
        color=COLOURS[run.status],
        variant="light",
        size="sm",
    )
    when = f"deleted {formatting.ago(run.deleted)}" if run.deleted else formatting.ago(run.created)
    owner = f" · by {run.owner}" if run.owner else ""
    scored = f"{formatting.run_title(run)} · " if run.name else ""
    kinds = ", ".join(formatting.PLURALS[kind] for kind in run.units)
    about = f"{scored}{', '.join(run.methods)} · {kinds} · seed {run.seed} · {when}{owner}"
    tags = [
        dcc.Link(tag, href=link(f"/?tag={quote(tag, safe='')}"), className="run-tag", title=f"Runs with the tag {tag}")
        for tag in run.tags
    ]
    lines: list[Any] = [dmc.Group([title, badge, *tags], gap="sm"), html.Div(about, className="quiet")]
    if run.comment:
        lines.append(html.Div(run.comment.splitlines()[0], className="run-comment", title=run.comment))
    if run.error:
        lines.append(dmc.Text(run.error, c="red", size="sm", mt=4))
    if not run.status.ended:
        lines += _progress(run, workers)
    if trust is not None:
        lines.append(_mark(run, trust))
    return lines


def _mark(run: Run, trust: Trust) -> Any:
    """How far the map can be trusted, as a shape and a word, linked to the evidence."""
    mark = trust.verdict.mark
    checking = mark is Mark.UNCHECKED and run.checks is not None and not run.checks.ended
    return html.Div(
        [
            f"{trust.unit.value.capitalize()} map: ",
            dcc.Link(
                "check in progress" if checking else f"{mark.shape} {mark.value}",
                href=address.trust(run.id, trust.method, trust.unit),
                className=f"mark-{mark.name.lower()}",
                title=trust.verdict.sentence,
            ),
        ],
        className="run-mark",
    )


def _progress(run: Run, workers: Sequence[WorkerInfo] | None) -> list[Any]:
    if workers is not None and not workers:
        remedy = ["No worker is running. Start one: ", html.Code(START_COMMAND)]
        return [html.Div(remedy, className="run-doing")]
    return [
        dmc.Progress(
            value=formatting.share_done(run), size="sm", mt=8, **{"aria-label": "share of the run that is done"}
        ),
        html.Div(doing(run, workers), className="run-doing"),
    ]


def doing(run: Run, workers: Sequence[WorkerInfo] | None) -> str:
    """Describe what an open run is doing: '96 of 288 examples · 41.3 per second · 4 s left · worker box-17'."""
    if run.status is Status.QUEUED:
        busy = bool(workers) and all(worker.current for worker in workers or ())
        return "waiting: all workers are busy" if busy else "waiting for a worker"
    if workers and run.shards == 1 and run.worker not in [worker.name for worker in workers]:
        return f"worker {run.worker} does not respond; another worker resumes from the last checkpoint"
    progress = run.progress
    parts = [formatting.progress(run) if run.fetching else formatting.progress(run).partition(",")[0]]
    if progress.rate is not None:
        rate = f"{progress.rate:,.3g}" if progress.rate < 1000 else f"{progress.rate:,.0f}"
        parts.append(f"{rate} per second")
    if progress.total and progress.done == progress.total:
        parts.append("measuring the intact accuracy")
    elif progress.eta_s is not None:
        parts.append(f"{formatting.duration(progress.eta_s)} left")
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
        return [button(run, "undo", "Restore")]
    if not run.status.ended:
        return [button(run, "cancel", "Cancel")]
    delete = button(run, "delete", "Delete", variant="subtle", color="gray")
    if run.status is Status.DONE:
        return [delete, dcc.Link("Open the map", href=link(f"/runs/{run.id}"))]
    return [delete, button(run, "again", "Try again")]


def button(run: Run, action: str, label: str, **properties: Any) -> Any:
    """A button with one of the actions of frontend.pages.runs.page."""
    name = {"aria-label": f"{label}: {formatting.run_title(run)}"}
    return dmc.Button(label, id=action_id(action, run.id), size="xs", **{"variant": "default", **name, **properties})


def action_id(action: str, run_id: str) -> dict[str, str]:
    """Return the id of a button, which the callback of all of them matches."""
    return {"type": "run-action", "action": action, "run": run_id}
