"""Pieces of the map page: contracts in, components out."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
import numpy as np
from dash import dcc, html

from frontend import words
from frontend.pages import states
from modelshapley.contracts import MapData, MethodInfo, Run, Status
from modelshapley.units import UnitKind, unit_name

TOP = 50
ROOT = "/api/v1"


def head(run: Run) -> Any:
    assert run.intact is not None
    return dmc.Group(
        [
            dmc.Title(f"{run.model.partition(':')[2]} on {run.task}", order=1, size="h2"),
            html.Div(
                f"{run.progress.total} probe examples · seed {run.seed} · "
                f"intact {words.accuracy(run.intact)}, n {run.intact.n}",
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
    back = dcc.Link("Back to the runs", href="/")
    if run.status is Status.FAILED:
        return states.state(title, run.error or "It failed.", back)
    if run.status is Status.CANCELLED:
        return states.state(title, "This run was cancelled before it was done.", back)
    share = 100 * run.progress.done / run.progress.total if run.progress.total else 0
    bar = dmc.Progress(value=share, w=360, **{"aria-label": "share of the probe examples scored"})
    return states.state(title, f"Its map appears here by itself: {words.progress(run)}.", bar)


def quantity(found: MapData) -> Any:
    reading = (
        "positive: the task is worse without the unit; negative: better"
        if found.signed
        else "higher: the task needs the unit more"
    )
    return [
        f"Colour: {found.quantity} ({reading}). Each panel has its own range. "
        "Click a cell or drag a box to switch units off ",
        html.Span("✕", className="legend-off", title="switched off"),
        "; click again to switch them on.",
    ]


def downloads(run: Run, method: str) -> Any:
    links = []
    for kind in run.units:
        for form in ("csv", "parquet", "safetensors"):
            href = f"{ROOT}/runs/{run.id}/maps/{method}/{kind.value}?format={form}"
            links.append(html.A(f"{words.PLURALS[kind].capitalize()} as {form}", href=href))
    links.append(html.A("Everything as one page (HTML)", href=f"/runs/{run.id}/report?method={quote(method)}"))
    return _unfolding("Download", links)


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


def top_table(found: MapData, off: set[str]) -> Any:
    """The TOP highest scores of a map: rank, unit, score with error, share of all magnitude, and a switch."""
    scores = np.array(found.scores, dtype=float)  # no unit: NaN, which sorts last
    total = float(np.nansum(np.abs(scores))) or 1.0
    order = np.argsort(-scores.reshape(-1), kind="stable")[: min(TOP, np.isfinite(scores).sum())]
    largest = float(np.nanmax(np.abs(scores))) or 1.0
    titles = [
        ("Rank", "number"),
        ("Unit", ""),
        ("Score ± standard error", "number"),
        ("Share", "number"),
        (dmc.VisuallyHidden("Score as a bar"), ""),
        ("Off", ""),
    ]
    head = dmc.TableTr([dmc.TableTh(title, className=css) for title, css in titles])
    rows = []
    for rank, flat in enumerate(order.tolist(), start=1):
        row, column = divmod(flat, scores.shape[1])
        unit = (row,) if found.unit is UnitKind.LAYER else (row, column)
        value, error = float(scores[row, column]), found.standard_errors[row][column]
        name, key = unit_name(found.unit, unit), ".".join(map(str, unit))
        switch = dmc.Checkbox(
            id={"type": "off", "kind": found.unit.value, "unit": key},
            checked=key in off,
            size="xs",
            color="pink",
            **{"aria-label": f"Switch {name} off"},
        )
        bar = html.Div(className="share-bar", style={"width": f"{90 * abs(value) / largest:.0f}px"})
        rows.append(
            dmc.TableTr(
                [
                    dmc.TableTd(f"{rank}", className="number"),
                    dmc.TableTd(name),
                    dmc.TableTd(f"{words.score(value)} ± {words.score(error)}", className="number"),
                    dmc.TableTd(words.percent(abs(value) / total), className="number"),
                    dmc.TableTd(bar),
                    dmc.TableTd(switch),
                ]
            )
        )
    return dmc.Table([dmc.TableThead(head), dmc.TableTbody(rows)], highlightOnHover=True, verticalSpacing=4)
