"""A run as one HTML file that opens without a server and without a network: contents in, text out."""

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

# Whatever a name may hold: nothing is run, and nothing is fetched.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


async def report(api: AsyncClient, maps: MapCache, run_id: str, method: str | None = None) -> str:
    """The file. Raises NotFound, Conflict, ApiError."""
    return await asyncio.to_thread(render, await gather(api, maps, run_id, method))


def render(found: Contents) -> str:
    run = found.run
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
        tag("p", f"Run {run.id} · report made {_moment(found.made)} by Model Shapley {__version__}", class_="quiet"),
        _deleted(run),
        _intact(run),
        _verdicts(found),
        _provenance(found),
        *(kind_section.section(found, kind) for kind in found.maps),
        _trials(found),
        _how(found),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en')}\n"


@cache
def _style() -> str:
    """Ours: it holds nothing that anybody else wrote."""
    return Path(__file__).with_name("report.css").read_text() + svg.palette()


def _moment(moment: datetime) -> str:
    return moment.strftime("%d %b %Y, %H:%M UTC")


def _deleted(run: Run) -> Markup | None:
    if run.deleted is None:
        return None
    return tag("p", f"This run was deleted {_moment(run.deleted)}; the server keeps it for a while only.")


def _intact(run: Run) -> Markup:
    assert run.intact is not None  # a run is done only after its intact accuracy has been measured
    return joined(
        [
            tag("div", formatting.percent(run.intact.accuracy), class_="big"),
            tag(
                "p",
                f"of {run.intact.n} held-out examples are answered right by the intact model; 95 % interval "
                f"{formatting.percent_interval(run.intact.interval)}.",
            ),
        ]
    )


def _verdicts(found: Contents) -> Markup:
    parts = []
    for kind in found.maps:
        told = verdict(found.faithfulness, found.computed, kind)
        mark = tag(
            "span", f"{told.mark.shape} {formatting.PLURALS[kind].capitalize()}: {told.mark.value}", class_="mark"
        )
        parts.append(tag("div", mark, tag("p", told.sentence), class_=f"verdict {told.mark.name.lower()}"))
    reread = (
        tag("p", "Measured with the map as it was scored, not as harm is weighed here.", class_="quiet")
        if found.method != found.computed
        else None
    )
    return tag("section", tag("h2", "May the maps be believed?"), *parts, reread, _methods(found))


def _methods(found: Contents) -> Markup | None:
    """A mark for each method of the run and kind of unit."""
    if len(found.run.methods) < 2:
        return None
    rows = []
    for method in found.run.methods:
        marks = [verdict(found.faithfulness, method, kind).mark for kind in found.maps]
        rows.append([formatting.method(method, found.infos), *(f"{mark.shape} {mark.value}" for mark in marks)])
    titles = ["Method", *(formatting.PLURALS[kind].capitalize() for kind in found.maps)]
    caption = "Verdicts on all methods of this run"
    return joined([tag("h3", caption), table(titles, rows, caption)])


def _provenance(found: Contents) -> Markup:
    run, told = found.run, next(iter(found.maps.values())).provenance
    info = found.infos[found.method.partition(",")[0]]
    rows = [
        ("Model", f"{run.model}, revision {told.get('revision', 'unknown')}"),
        ("Task", f"{run.task}, fingerprint {told.get('task_fingerprint', 'unknown')}"),
        ("Examples", f"{told.get('n')} scored, seed {run.seed}, at most {run.limit} asked for"),
        ("Method", f"{formatting.method(found.method, found.infos)} ({found.method}): {info.summary}"),
        ("Parameters", _listed(told.get("parameters", {})) or "none"),
        ("Units", ", ".join(formatting.PLURALS[kind] for kind in found.maps)),
        ("Check", _check(found.faithfulness)),
        (
            "Made",
            f"{told.get('created', 'unknown')} on {told.get('device', 'unknown')}, {told.get('dtype', 'float32')}",
        ),
        ("Versions", _listed(told.get("versions", {}))),
        *(("Data", note) for note in run.notes),
    ]
    pairs = [joined([tag("dt", name), tag("dd", text)]) for name, text in rows]
    return tag("section", tag("h2", "Where it comes from"), tag("dl", *pairs))


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _check(found: Faithfulness) -> str:
    if not found.status.ended:
        return f"{found.effort}, {found.progress.done} of {found.progress.total} done when this report was made"
    if found.error:
        return f"{found.effort}, stopped: {found.error}"
    return "none" if found.effort == "none" else f"{found.effort}, done"


def _trials(found: Contents) -> Markup:
    title = tag("h2", "Tried on this run")
    if not found.trials:
        return tag("section", title, tag("p", "Nothing was switched off by hand yet."))
    rows = []
    for trial in found.trials:
        assert trial.accuracy is not None
        assert trial.interval is not None
        assert trial.difference is not None
        assert trial.difference_interval is not None
        predicted = trial.predicted.get(found.computed)
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
    about = "Accuracy on held-out examples and the paired difference to the intact model, with 95 % intervals."
    titles = ["Units", "Right", "n", "Against intact", "Predicted by the map"]
    return tag("section", title, tag("p", about, class_="quiet"), table(titles, rows, caption))


def _how(found: Contents) -> Markup:
    info = found.infos[found.method.partition(",")[0]]
    about = [
        ("Scores", f"{info.formula}. {info.source}."),
        ("Standard errors", "from the spread over scored examples."),
        (
            "Accuracy",
            "on examples that were not scored; Wilson's interval, differences by Agresti and Min (2005).",
        ),
        (
            "Random orders",
            "from the lowest draw to the highest, each with its own interval; what is clearly above or below does "
            "not touch that.",
        ),
        (
            "Agreement",
            "Spearman's ρ with sampled Shapley values of a random subset of the units, Fisher's interval; not to "
            "be expected above the square root of the sample's own reliability.",
        ),
    ]
    lines = [joined([tag("dt", name), tag("dd", text)]) for name, text in about]
    agreed = [
        f"{formatting.PLURALS[kind]} {formatting.signed(entry.agreement.rho)} "
        f"({interval_of_rho(correlation_interval(entry.agreement.rho, entry.agreement.units))})"
        for kind in found.maps
        if (entry := entry_of(found.faithfulness, found.computed, kind)) and entry.agreement and entry.agreement.rho
    ]
    told = tag("p", f"Agreement with sampled Shapley values: {', '.join(agreed)}.", class_="quiet") if agreed else None
    return tag("section", tag("h2", "How it was computed"), tag("dl", *lines), told)
