"""The line above a map that says how far it can be trusted, from the run's faithfulness report."""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State, dcc, html

from frontend import address
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Faithfulness, KindFaithfulness, Mark, RandomCurve, Run
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.verdict import random_curve_of, verdict
from modelshapley.methods import reading_of
from modelshapley.units import UnitKind

callbacks = Callbacks()

TICK_MS = 2000


async def layout(api: AsyncClient, run: Run, method: str, unit: UnitKind) -> Any:
    """Lay out the line; it is refreshed until the check has ended."""
    text, _ = await _line(api, run, method, unit)
    return html.Div(
        [
            html.Div(text, id="trust", className="quiet trust-line", role="status", style={"marginTop": 6}),
            dcc.Interval(id="trust-tick", interval=TICK_MS, disabled=run.checks is None or run.checks.ended),
        ]
    )


@callbacks.server(
    Output("trust", "children"),
    Output("trust-tick", "disabled"),
    Input("reading", "data"),
    Input("unit", "value"),
    Input("trust-tick", "n_intervals"),
    State("run", "data"),
    prevent_initial_call=True,
)
async def show_verdict(method: str, unit: str, _: int, data: Any, *, api: AsyncClient) -> Any:
    """Refresh the line: another method, another kind of unit, or a check that goes on."""
    return await _line(api, Run.model_validate(data), method, UnitKind(unit))


async def _line(api: AsyncClient, run: Run, method: str, unit: UnitKind) -> tuple[Any, bool]:
    """Return the line, and whether it is final."""
    if run.checks is None:  # scored by a version without reports
        return _with_link(run.id, method, unit, "Trust: not checked. "), True
    try:
        report = await api.send(client.faithfulness(run.id))
    except ModelShapleyError as error:
        return empty_states.failure(error), True
    reading = reading_of(method, run.methods)
    return line(report, reading.computed if reading else method, method, unit), report.status.ended


def line(report: Faithfulness, computed: str, displayed: str, unit: UnitKind) -> Any:
    """Write the line for one kind of unit: a word, a sentence, and the figures behind "Details".

    computed: the method as scored; displayed: as the page reads it.
    """
    judged = verdict(report, computed, unit)
    entry = next(e for e in report.maps if (e.method, e.unit) == (computed, unit))
    figures = [*_agreements(entry), *_removal(entry, random_curve_of(report, unit))]
    if entry.harm is not None:
        figures.append(f"best discount on the probe set: h = {entry.harm.offered:g}")
    if displayed != computed:
        figures.append("measured with the map as it was scored")
    if report.error:
        figures.append(f"the check stopped: {report.error}")
    word = html.Span(f"{judged.mark.shape} {judged.mark.value}", className=f"mark-{judged.mark.name.lower()}")
    sentence = judged.sentence.replace("ρ ", "ρ\u00a0")
    name = html.Strong(f"Trust in this {unit.value} ranking: ")
    details = html.Details([html.Summary("Details"), html.Ul([html.Li(text) for text in figures])])
    lead = [] if judged.mark is Mark.UNCHECKED else [word, ". "]  # the sentence says it, too
    return [name, *lead, *_with_link(report.run, displayed, unit, f"{sentence} "), details if figures else None]


def _with_link(run: str, method: str, unit: UnitKind, text: str) -> list[Any]:
    return [text, dcc.Link("See the evidence", href=address.trust(run, method, unit))]


def _agreements(entry: KindFaithfulness) -> list[str]:
    texts = []
    if entry.agreement is not None and entry.agreement.rho is not None:
        reliability = entry.agreement.reliability
        noise = "unknown" if reliability is None else f"{reliability:.2f}"
        texts.append(
            f"ρ {formatting.signed(entry.agreement.rho)} with sampled Shapley values "
            f"({entry.agreement.units} units, reliability {noise})"
        )
    if entry.halves is not None:
        texts.append(f"ρ {formatting.signed(entry.halves)} between two halves of the probe set")
    return texts


def _removal(entry: KindFaithfulness, random: RandomCurve | None) -> list[str]:
    if entry.least is None:
        return []
    point = entry.least.points[-1]
    share = f"{100 * point.fraction:g} %"
    text = f"accuracy {formatting.percent(point.accuracy)} ({point.n} examples) with the {share} least important off"
    if random is not None and point.fraction in random.fractions:
        text += f", {formatting.percent(random.accuracy[random.fractions.index(point.fraction)])} in random order"
    return [text]
