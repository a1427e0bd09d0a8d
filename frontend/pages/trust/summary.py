"""How far may this map be believed: one line above it, from the run's faithfulness report."""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State, dcc, html

from frontend import address
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Faithfulness, KindFaithfulness, RandomCurve, Run
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.verdict import Mark, verdict
from modelshapley.methods import reading_of
from modelshapley.units import UnitKind

callbacks = Callbacks()

TICK_MS = 2000


async def layout(api: AsyncClient, run: Run, method: str, unit: UnitKind) -> Any:
    said, _ = await _told(api, run, method, unit)
    return html.Div(
        [
            html.Div(said, id="trust", className="quiet", role="status", style={"marginTop": 6}),
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
    return await _told(api, Run.model_validate(data), method, UnitKind(unit))


async def _told(api: AsyncClient, run: Run, method: str, unit: UnitKind) -> tuple[Any, bool]:
    """The line, and whether nothing more will come."""
    if run.checks is None:  # scored before there were reports
        return _see(run.id, method, unit, "Trust: not checked yet. "), True
    try:
        report = await api.send(client.faithfulness(run.id))
    except ModelShapleyError as error:
        return empty_states.failure(error), True
    read = reading_of(method, run.methods)
    return line(report, read.computed if read else method, method, unit), report.status.ended


def line(report: Faithfulness, computed: str, shown: str, unit: UnitKind) -> Any:
    """What was found of one kind of unit of one map. computed: its method as scored; shown: as it is read now."""
    entry = next(e for e in report.maps if (e.method, e.unit) == (computed, unit))
    chance = next((curve for curve in report.random if curve.unit is unit), None)
    found = [*_agreements(entry), *_kept(entry, chance, unit)]
    if entry.harm is not None:
        found.append(f"on the probe set h = {entry.harm.offered:g} keeps most")
    if shown != computed:
        found.append("measured with the map as it was scored")
    if not report.status.ended:
        found.append(f"checking, {report.progress.done} of {report.progress.total} done")
    if report.error:
        found.append(f"the check stopped: {report.error}")
    mark = verdict(report, computed, unit).mark
    told = "" if mark is Mark.UNCHECKED else f"{mark.shape} {mark.value}; "
    about = f"Trust in these {formatting.PLURALS[unit]}: "
    said = told + "; ".join(found) + ". " if found else f"{mark.value}. "
    return [html.Strong(about), *_see(report.run, shown, unit, said)]


def _see(run: str, method: str, unit: UnitKind, said: str) -> list[Any]:
    return [said, dcc.Link("See how far it may be believed", href=address.trust(run, method, unit))]


def _agreements(entry: KindFaithfulness) -> list[str]:
    found = []
    if entry.agreement is not None and entry.agreement.rho is not None:
        sure = entry.agreement.reliability
        told = "unknown" if sure is None else f"{sure:.2f}"
        found.append(
            f"agreement with sampled Shapley values {formatting.signed(entry.agreement.rho)} "
            f"({entry.agreement.units} units; the sample's own reliability {told})"
        )
    if entry.halves is not None:
        found.append(f"between two halves of the probe set {formatting.signed(entry.halves)}")
    return found


def _kept(entry: KindFaithfulness, chance: RandomCurve | None, unit: UnitKind) -> list[str]:
    if entry.least is None:
        return []
    point = entry.least.points[-1]
    told = (
        f"least important {100 * point.fraction:g} % off leave {formatting.percent(point.accuracy)} of {point.n} right"
    )
    if chance is not None and point.fraction in chance.fractions:
        at_random = chance.accuracy[chance.fractions.index(point.fraction)]
        told += f", random ones {formatting.percent(at_random)}"
    return [told]
