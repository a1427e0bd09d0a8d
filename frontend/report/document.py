"""The report of a run: one HTML file that opens without a server and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from frontend.figures import svg
from frontend.figures.markup import Markup, joined, table, tag
from frontend.map_cache import MapCache
from frontend.report import kind_section
from frontend.report.contents import Contents, gather
from modelshapley import __version__, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Faithfulness, Run
from modelshapley.evaluation.verdict import entry_of, interval_of_rho, verdict
from modelshapley.maps.compare import correlation_interval

# Whatever the name of a model, task or class may contain: the report runs nothing and fetches nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


async def report(api: AsyncClient, maps: MapCache, run_id: str, method: str | None = None) -> str:
    """Write the report of a run. Raises NotFound, Conflict, ApiError."""
    return await asyncio.to_thread(render, await gather(api, maps, run_id, method))


def render(contents: Contents) -> str:
    """Write a report from its contents."""
    run = contents.run
    title = f"{run.model.partition(':')[2]} on {run.task}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title} · Model Shapley"),
        tag("style", Markup(_style())),
    )
    body = tag(
        "main",
        tag("h1", title),
        tag("p", f"Run {run.id} · {_moment(contents.created)} · Model Shapley {__version__}", class_="quiet"),
        _deleted(run),
        _intact(run),
        _verdicts(contents),
        _provenance(contents),
        *(kind_section.section(contents, kind) for kind in contents.maps),
        _trials(contents),
        _methodology(contents),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en')}\n"


@cache
def _style() -> str:
    """The report's CSS. It may be markup, since nobody else's text is in it."""
    return Path(__file__).with_name("report.css").read_text() + svg.palette()


def _moment(moment: datetime) -> str:
    return moment.strftime("%d %b %Y, %H:%M UTC")


def _deleted(run: Run) -> Markup | None:
    if run.deleted is None:
        return None
    return tag("p", f"This run was deleted on {_moment(run.deleted)}. The server will soon remove it.")


def _intact(run: Run) -> Markup:
    assert run.intact is not None  # a run is done only after its intact accuracy has been measured
    return joined(
        [
            tag("div", formatting.percent(run.intact.accuracy), class_="big"),
            tag(
                "p",
                f"accuracy of the intact model on {run.intact.n} held-out examples; 95 % interval "
                f"{formatting.percent_interval(run.intact.interval)}.",
            ),
        ]
    )


def _verdicts(contents: Contents) -> Markup:
    parts = []
    for kind in contents.maps:
        judged = verdict(contents.faithfulness, contents.computed, kind)
        title = f"{judged.mark.shape} {formatting.PLURALS[kind].capitalize()}: {judged.mark.value}"
        mark = tag("span", title, class_="mark")
        parts.append(tag("div", mark, tag("p", judged.sentence), class_=f"verdict {judged.mark.name.lower()}"))
    note = "Measured with the map as it was scored, not with this report's discount for harm."
    reread = tag("p", note, class_="quiet") if contents.method != contents.computed else None
    return tag("section", tag("h2", "Can you trust these maps?"), *parts, reread, _methods(contents))


def _methods(contents: Contents) -> Markup | None:
    """A table of marks, for each method of the run and kind of unit."""
    if len(contents.run.methods) < 2:
        return None
    rows = []
    for method in contents.run.methods:
        marks = [verdict(contents.faithfulness, method, kind).mark for kind in contents.maps]
        rows.append([formatting.method(method, contents.infos), *(f"{mark.shape} {mark.value}" for mark in marks)])
    titles = ["Method", *(formatting.PLURALS[kind].capitalize() for kind in contents.maps)]
    caption = "Verdicts on all methods of this run"
    return joined([tag("h3", caption), table(titles, rows, caption)])


def _provenance(contents: Contents) -> Markup:
    run, provenance = contents.run, next(iter(contents.maps.values())).provenance
    info = contents.infos[contents.method.partition(",")[0]]
    origin = [provenance.get(name, "unknown") for name in ("created", "device")]
    rows = [
        ("Model", f"{run.model}, revision {provenance.get('revision', 'unknown')}"),
        ("Task", f"{run.task}, fingerprint {provenance.get('task_fingerprint', 'unknown')}"),
        ("Examples", f"{provenance.get('n')} scored, of at most {run.limit} requested; seed {run.seed}"),
        ("Method", f"{formatting.method(contents.method, contents.infos)} ({contents.method}): {info.summary}"),
        ("Parameters", _listed(provenance.get("parameters", {})) or "none"),
        ("Units", ", ".join(formatting.PLURALS[kind] for kind in contents.maps)),
        ("Check", _check(contents.faithfulness)),
        ("Created", f"{origin[0]} on {origin[1]}, {provenance.get('dtype', 'float32')}"),
        ("Versions", _listed(provenance.get("versions", {}))),
        *(("Data", note) for note in run.notes),
    ]
    pairs = [joined([tag("dt", name), tag("dd", text)]) for name, text in rows]
    return tag("section", tag("h2", "Provenance"), tag("dl", *pairs))


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _check(report: Faithfulness) -> str:
    if not report.status.ended:
        return f"{report.effort}, in progress ({report.progress.done} of {report.progress.total} measurements)"
    if report.error:
        return f"{report.effort}, stopped: {report.error}"
    return "none" if report.effort == "none" else f"{report.effort}, done"


def _trials(contents: Contents) -> Markup:
    title = tag("h2", "Trials")
    if not contents.trials:
        return tag("section", title, tag("p", "No trials yet."))
    rows = []
    for trial in contents.trials:
        assert trial.accuracy is not None
        assert trial.interval is not None
        assert trial.difference is not None
        assert trial.difference_interval is not None
        predicted = trial.predicted.get(contents.computed)
        rows.append(
            [
                f"{trial.off.deactivation().describe()} {formatting.treated(trial.treatment)}",
                f"{formatting.percent(trial.accuracy)} ({formatting.percent_interval(trial.interval)})",
                f"{trial.n}",
                f"{formatting.points(trial.difference)} ({formatting.points_interval(trial.difference_interval)})",
                "–" if predicted is None else formatting.score(predicted),
            ]
        )
    caption = f"The {len(rows)} newest trials" if len(rows) > 1 else "The newest trial"
    about = "Accuracy on held-out examples and the paired difference from the intact model, with 95 % intervals."
    titles = ["Units", "Accuracy", "n", "Change from intact", "Predicted by the map"]
    return tag("section", title, tag("p", about, class_="quiet"), table(titles, rows, caption))


def _methodology(contents: Contents) -> Markup:
    info = contents.infos[contents.method.partition(",")[0]]
    about = [
        ("Scores", f"{info.formula}. {info.source}."),
        ("Standard errors", "From the spread over scored examples."),
        (
            "Accuracy",
            "On examples that were not scored. Wilson's interval; differences by Agresti and Min (2005).",
        ),
        (
            "Random orders",
            "From the lowest draw to the highest, each with its own interval. A map is clearly better or worse where "
            "its interval does not overlap that range.",
        ),
        (
            "Agreement",
            "Spearman's ρ with sampled Shapley values of a random subset of the units, with Fisher's interval. At most "
            "the square root of the sample's reliability can be expected.",
        ),
    ]
    lines = [joined([tag("dt", name), tag("dd", text)]) for name, text in about]
    return tag("section", tag("h2", "Methodology"), tag("dl", *lines), _agreements(contents))


def _agreements(contents: Contents) -> Markup | None:
    """The correlation with sampled Shapley values, for each kind of unit that has one."""
    texts = []
    for kind in contents.maps:
        entry = entry_of(contents.faithfulness, contents.computed, kind)
        if entry and entry.agreement and entry.agreement.rho:
            interval = interval_of_rho(correlation_interval(entry.agreement.rho, entry.agreement.units))
            texts.append(f"{formatting.PLURALS[kind]} {formatting.signed(entry.agreement.rho)} ({interval})")
    return tag("p", f"Agreement with sampled Shapley values: {', '.join(texts)}.", class_="quiet") if texts else None
