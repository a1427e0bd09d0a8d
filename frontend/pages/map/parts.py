"""Parts of the map page, from contracts to components: heading, notes, legend, downloads, explanation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import dcc, html

from frontend import address
from frontend.display import Display
from frontend.figures.planes import Plane
from frontend.links import link
from modelshapley import formatting
from modelshapley.contracts import MethodInfo, Run

Infos = Mapping[str, MethodInfo]


def head(run: Run) -> Any:
    """The page's heading: model, task, examples, intact accuracy."""
    assert run.intact is not None
    return dmc.Group(
        [
            dmc.Title(formatting.run_heading(run), order=1, size="h2", id="run-title"),
            html.Div(
                f"{run.progress.total} probe examples · seed {run.seed} · "
                f"intact {formatting.accuracy(run.intact)}, n {run.intact.n}",
                className="quiet",
            ),
            dcc.Link("Use this map", href=address.apply(run.id)),
            dcc.Link("How to read this map", href=link("/reading")),
        ],
        align="baseline",
        mb=4,
    )


def notes(run: Run) -> Any:
    """Notes on the data and the scores, such as rows that were skipped; None where there are none.

    Of several, only the first is in sight, so that the map stays near the top.
    """
    if not run.notes:
        return None
    first, *others = run.notes
    line = [html.Strong("Note: " if not others else "Notes: "), first]
    if not others:
        return html.Div(line, className="quiet run-notes", id="run-notes")
    more = html.Span(f" {len(others)} more", className="more-notes")
    unfolded = html.Ul([html.Li(note) for note in others], className="plain-list")
    return html.Details([html.Summary([*line, more]), unfolded], className="quiet run-notes", id="run-notes")


def quantity(plane: Plane, display: Display) -> Any:
    """The legend: what the colours mean, and how units are switched off."""
    reading = (
        "Positive: the task gets worse without the unit; negative: better."
        if plane.signed
        else "Higher: the task depends more on the unit."
    )
    return [
        f"{colour(plane, display)} {reading} Each panel has its own range. ",
        "Click a cell or drag a box to switch units off ",
        html.Span("✕", className="legend-off", title="switched off"),
        "; click again to switch them on.",
    ]


def colour(plane: Plane, display: Display) -> str:
    """Say what the colours are, with their unit."""
    meaning = {
        "score": plane.quantity,
        "share": f"share of the total; score: {plane.quantity}",
        "percentile": f"percentile rank among all units of the kind; score: {plane.quantity}",
    }[display.colour]
    log = ", log scale" if display.log and display.colour != "percentile" and not plane.signed else ""
    return f"Colour: {meaning}{log}."


def downloads(run: Run, method: str, label: str, plane: Plane, figure: Any) -> Any:
    """The menu of downloads: scores by kind of unit, the figure with a caption, the report."""
    links = []
    of_class = f"&class={quote(label, safe='')}" if label else ""
    for kind in run.units:
        for form in ("csv", "parquet", "safetensors"):
            href = link(f"/api/v1/runs/{run.id}/maps/{method}/{kind.value}?format={form}{of_class}")
            links.append(html.A(f"{formatting.PLURALS[kind].capitalize()} as {form}", href=href))
    report = html.A("Full report (HTML)", href=link(f"/runs/{run.id}/report?method={quote(method)}"))
    text = caption(plane, label)
    copy = html.Div(
        ["Copy a caption ", dcc.Clipboard(content=text, title="Copy a caption", className="copy")], title=text
    )
    return _menu("Download", [*links, figure, copy, report])


def paper_figure(run: Run, method: str, label: str, plane: Plane, display: Display, infos: Infos) -> Any:
    """The button that opens the dialog of assets/picture.js, with the texts that the dialog starts from."""
    of_class = f" · class {label}" if label else ""
    texts = {
        "data-title": f"{run.name or formatting.run_title(run)} · {formatting.method(method, infos)}{of_class}",
        "data-colour": f"{colour(plane, display)} Each panel has its own range. Rows: layers.",
        "data-name": f"map-{run.id}-{re.sub(r'[^A-Za-z0-9=.]+', '-', method)}",
    }
    return html.Button("Figure for a paper …", id="paper-open", className="plain-button", **texts)


def caption(plane: Plane, label: str) -> str:
    """Write a caption for a picture of the map: what it shows, of what, how it was computed."""
    p = plane.provenance
    of_class = f", class {label}" if label else ""
    return (
        f"Importance of the units of {p['model']} (revision {p['revision'][:12]}) on {p['task']}{of_class}. "
        f"Rows: layers, the first at the top. Colour: {plane.quantity}; each panel has its own range. "
        f"Crosses: units that are switched off. Method: {plane.method}, n = {p['n']} probe examples, seed {p['seed']}."
    )


def _menu(title: str, content: Any) -> Any:
    """A button that opens a panel: the browser's own element, which keyboards and screen readers know."""
    return html.Details([html.Summary(title), html.Div(content, className="panel")], className="unfolding")


def explanation(info: MethodInfo, provenance: dict[str, Any]) -> Any:
    """The menu "How is this computed?": the method, its source, and the map's provenance."""
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
        ("Created", f"{provenance['created']} on {provenance['device']} with {versions}"),
    ]
    lines = [html.Div([html.B(f"{name}: "), text]) for name, text in rows]
    return _menu("How is this computed?", lines)
