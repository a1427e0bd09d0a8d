"""Pieces of the map page: contracts in, components out."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import dcc, html

from frontend.display import Display
from frontend.figures.planes import Plane
from frontend.links import link
from frontend.pages.shared import empty_states
from modelshapley import formatting
from modelshapley.contracts import MethodInfo, Run, Status


def head(run: Run) -> Any:
    assert run.intact is not None
    return dmc.Group(
        [
            dmc.Title(f"{run.model.partition(':')[2]} on {run.task}", order=1, size="h2"),
            html.Div(
                f"{run.progress.total} probe examples · seed {run.seed} · "
                f"intact {formatting.accuracy(run.intact)}, n {run.intact.n}",
                className="quiet",
            ),
        ],
        align="baseline",
        mb="md",
    )


def notes(run: Run) -> Any:
    """What is to be known of the task's data: rows that were left out, say."""
    if not run.notes:
        return None
    return html.Div([html.Strong("Data: "), " ".join(run.notes)], className="quiet run-notes", id="run-notes")


def unfinished(run: Run) -> Any:
    title = f"{run.model.partition(':')[2]} on {run.task}"
    back = dcc.Link("Back to the runs", href=link("/"))
    if run.status is Status.FAILED:
        return empty_states.state(title, run.error or "It failed.", back)
    if run.status is Status.CANCELLED:
        return empty_states.state(title, "This run was cancelled before it was done.", back)
    bar = dmc.Progress(value=formatting.share_done(run), w=360, **{"aria-label": "share that is done"})
    return empty_states.state(title, f"Its map appears here by itself: {formatting.progress(run)}.", bar)


def quantity(found: Plane, display: Display) -> Any:
    reading = (
        "positive: the task is worse without the unit; negative: better"
        if found.signed
        else "higher: the task needs the unit more"
    )
    said = {
        "score": f"{found.quantity} ({reading})",
        "share": f"share of the sum of all magnitudes, of {found.quantity}",
        "percentile": f"how many units of the kind rank no higher, by {found.quantity}",
    }[display.colour]
    log = ", by decades" if display.log and display.colour != "percentile" and not found.signed else ""
    return [
        f"Colour: {said}{log}. Each panel has its own range. Click a cell or drag a box to switch units off ",
        html.Span("✕", className="legend-off", title="switched off"),
        "; click again to switch them on.",
    ]


def downloads(run: Run, method: str, label: str) -> Any:
    links = []
    of_class = f"&class={quote(label, safe='')}" if label else ""
    for kind in run.units:
        for form in ("csv", "parquet", "safetensors"):
            href = link(f"/api/v1/runs/{run.id}/maps/{method}/{kind.value}?format={form}{of_class}")
            links.append(html.A(f"{formatting.PLURALS[kind].capitalize()} as {form}", href=href))
    pictures = [
        html.Button(f"The map as {form.upper()}", id=f"picture-{form}", className="plain-button")
        for form in ("png", "svg")
    ]
    report = html.A("Everything as one page (HTML)", href=link(f"/runs/{run.id}/report?method={quote(method)}"))
    return _unfolding("Download", [*links, *pictures, report])


def _unfolding(title: str, content: Any) -> Any:
    """A button that unfolds a panel: the browser's own, which the keyboard and screen readers know."""
    return html.Details([html.Summary(title), html.Div(content, className="panel")], className="unfolding")


def explanation(info: MethodInfo, provenance: dict[str, Any]) -> Any:
    parameters = ", ".join(f"{name} {value}" for name, value in provenance["parameters"].items())
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    rows = [
        ("Method", f"{info.title}: {info.summary}"),
        ("Formula", info.formula),
        ("Source", info.source),
        ("Parameters", parameters or "none"),
        ("Examples", f"{provenance['n']}, seed {provenance['seed']}"),
        ("Model", f"{provenance['model']}, revision {provenance['revision'][:12]}"),
        ("Task", f"{provenance['task']}, fingerprint {provenance['task_fingerprint'][:12]}"),
        ("Made", f"{provenance['created']} on {provenance['device']} with {versions}"),
    ]
    lines = [html.Div([html.B(f"{name}: "), text]) for name, text in rows]
    return _unfolding("How is this computed?", lines)
