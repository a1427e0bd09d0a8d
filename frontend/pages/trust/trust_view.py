"""What is known of the truth of one kind of unit of one map: report in, components out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from frontend import address
from frontend.figures import check_curves, scatter
from frontend.pages.shared import drawing, tables
from frontend.pages.trust import trust_cards
from modelshapley import formatting
from modelshapley.contracts import (
    Curve,
    Faithfulness,
    KindFaithfulness,
    MethodInfo,
    RandomCurve,
    Run,
    Trial,
)
from modelshapley.evaluation.verdict import Finding, Verdict, entry_of, interval_of_rho, random_curve_of, verdict
from modelshapley.maps.compare import correlation_interval
from modelshapley.methods import parse_method
from modelshapley.units import UnitKind

OUTCOMES = {"passed": ("✔", "passed"), "open": ("◌", "left open"), "failed": ("✘", "failed")}
NAMES = {
    "what can go": "What can go",
    "what matters": "What matters",
    "Shapley values": "Agreement with sampled Shapley values",
}
HOW = (
    (
        "Curves",
        "The least (or most) important units are switched off on the live model, more and more of them, and "
        "held-out examples are answered: those that the scores were not computed on. Bands: 95 %, Wilson. "
        "Random orders: from the lowest draw to the highest, each with its own interval. The paper deactivates "
        "the least important 5 and 30 % in the same way (section 5, Table 1).",
    ),
    (
        "Sampled Shapley values",
        "Average marginal utility in random coalitions, on probe examples, for a random subset of the units "
        "(section 1 of the paper for the game; Owen 1972 for the sampling). Reliability: how well they would "
        "agree with a second sample of as many coalitions; no scores can be expected to agree by more than its "
        "square root.",
    ),
    (
        "Sum",
        "Shapley values add up to what all units together are worth (efficiency, section 1). Asked only of "
        "methods whose scores are meant to.",
    ),
    ("Halves", "The probe set is split at random, both halves are scored, and their orders compared."),
    (
        "Verdict",
        "Three tests against chance, passed, failed or left open; docs/methods.md, How a verdict is made, tells "
        "the thresholds and why.",
    ),
)


def view(
    report: Faithfulness,
    run: Run,
    method: str,
    unit: UnitKind,
    infos: Mapping[str, MethodInfo],
    trials: Sequence[Trial],
    reread: bool = False,
) -> Any:
    """method: as the run was scored by it. reread: the map on the screen weighs harm in another way."""
    entry, chance = entry_of(report, method, unit), random_curve_of(report, unit)
    found = verdict(report, method, unit)
    parts = [
        _verdict(found, reread),
        state_of(report, measured=bool(found.findings)),
        _curves(entry, chance, unit) if entry else None,
        trust_cards.layout(entry, run, unit) if entry else None,
        _all_methods(report, run, method, unit, infos, chance),
        _predicted(trials, method),
        _how(),
    ]
    return [part for part in parts if part is not None]


def _verdict(found: Verdict, reread: bool) -> Any:
    words_of_mark = [html.Span(found.mark.shape, **{"aria-hidden": "true"}), f" {found.mark.value}"]
    name = found.mark.name.lower()
    return dmc.Paper(
        [
            html.Div(words_of_mark, className=f"mark mark-{name}", id="verdict-mark"),
            html.P(found.sentence.replace("ρ ", "ρ\u00a0"), className="verdict", id="verdict"),
            html.Ul([_finding(f) for f in found.findings], className="findings") if found.findings else None,
            html.Div("Measured with the map as it was scored, not as harm is weighed now.", className="quiet")
            if reread
            else None,
        ],
        withBorder=True,
        p="lg",
        radius="md",
        className=f"verdict-card of-{name}",
    )


def _finding(finding: Finding) -> Any:
    shape, told = OUTCOMES[finding.outcome]
    return html.Li(
        [
            html.Span(shape, className="outcome", **{"aria-hidden": "true"}),
            html.Div([html.Strong(f"{NAMES[finding.name]}, {told}: "), f"{finding.full}."]),
        ]
    )


def state_of(report: Faithfulness, measured: bool) -> Any:
    """What goes on with the check, and what can be done about it."""
    if not report.status.ended:
        done = report.progress
        share = 100 * done.done / done.total if done.total else 0
        started = f"{done.done} of {done.total} checks made" if done.done else "it goes on while no other work waits"
        return html.Div(
            [
                html.Div(f"The {report.effort} check is under way: {started}.", id="check-progress"),
                dmc.Progress(value=share, size="sm", mt=6, **{"aria-label": "share of the checks made"}),
            ],
            className="check-state",
            role="status",
        )
    if report.error:
        return dmc.Alert(
            [html.P(report.error, style={"margin": "0 0 10px"}), ask_button("Try again", report.effort)],
            title="The check stopped",
            color="red",
            variant="light",
            className="check-state",
        )
    if not measured:
        about = "A quick check takes about as long as scoring did, and other work goes first."
        ask = [ask_button("Check now", "quick"), ask_button("Check thoroughly", "full", "default")]
        return html.Div([html.P(about), dmc.Group(ask)], className="check-state")
    if report.effort == "quick":
        about = (
            "This was the quick check: few examples, one random order. A full one takes all test examples, eight "
            "shares and five random orders, and its figures take the place of these."
        )
        return html.Div([html.P(about), ask_button("Check thoroughly", "full", "default")], className="check-state")
    return None


def ask_button(label: str, effort: str, variant: str = "filled") -> Any:
    return dmc.Button(label, id={"type": "check", "effort": effort}, variant=variant, size="sm")


def _curves(entry: KindFaithfulness, chance: RandomCurve | None, unit: UnitKind) -> Any:
    if entry.least is None or entry.most is None:
        return None
    return html.Div(
        [_curve(entry.least, chance, unit, "What can go"), _curve(entry.most, chance, unit, "What matters")],
        className="trust-grid",
    )


def _curve(curve: Curve, chance: RandomCurve | None, unit: UnitKind, title: str) -> Any:
    said = check_curves.sentence(curve, chance, unit)
    return dmc.Paper(
        [
            dmc.Title(title, order=2, size="h4"),
            html.Div(
                f"The {curve.which} important {formatting.PLURALS[unit]} off first. {curve.points[0].n} held-out "
                "examples, bands of 95 %.",
                className="quiet",
            ),
            drawing.graph(f"curve-{curve.which}", check_curves.figure(curve, chance, unit), said),
            html.Div(said, className="quiet"),
            _points(curve, chance, unit),
        ],
        withBorder=True,
        p="md",
        radius="md",
    )


def _points(curve: Curve, chance: RandomCurve | None, unit: UnitKind) -> Any:
    """The same in numbers."""
    random = {} if chance is None else dict(zip(chance.fractions, check_curves.ranges(chance), strict=True))
    titles = ("Off", "Right", "Against intact", "Random orders (lowest to highest)")
    rows = [
        [
            f"{100 * p.fraction:g} % ({formatting.counted(unit, p.units)})",
            f"{formatting.percent(p.accuracy)} ({formatting.percent_interval(p.interval)})",
            f"{formatting.points(p.difference)} ({formatting.points_interval(p.difference_interval)})",
            random.get(p.fraction, "not measured"),
        ]
        for p in curve.points
    ]
    return html.Details(
        [
            html.Summary("In numbers"),
            html.Div(
                tables.table(titles, rows),
                className="scroll-x",
                tabIndex=0,
                role="region",
                **{"aria-label": f"Accuracy with the {curve.which} important off"},
            ),
        ],
        className="section",
    )


def _all_methods(
    report: Faithfulness,
    run: Run,
    here: str,
    unit: UnitKind,
    infos: Mapping[str, MethodInfo],
    chance: RandomCurve | None,
) -> Any:
    titles = ("Method", "Verdict", "Area, least off", "Area, most off", "ρ with Shapley values", "ρ of halves")
    rows: list[list[Any]] = []
    for method in run.methods:
        entry = entry_of(report, method, unit)
        if entry is None:
            continue
        mark = verdict(report, method, unit).mark
        title = formatting.method(method, infos)
        name = title if method == here else dcc.Link(title, href=address.trust(run.id, method, unit))
        rows.append([name, f"{mark.shape} {mark.value}", *_numbers(entry)])
    if chance is not None:
        rows.append([f"Random orders ({chance.draws})", "", f"{chance.area:.3f}", "", "", ""])
    return html.Section(
        [
            dmc.Title(f"All methods of this run, {formatting.PLURALS[unit]}", order=2, size="h4", mb="xs"),
            html.Div(
                tables.table(titles, rows, run.methods.index(here) if here in run.methods else None),
                className="scroll-x",
                tabIndex=0,
                role="region",
                **{"aria-label": "All methods of this run"},
            ),
            html.Div(
                "Areas: mean accuracy over the shares that were measured; least off: higher is better, most off: "
                "lower. ρ with 95 % intervals over units.",
                className="quiet",
            ),
        ],
        className="trust-section",
    )


def _numbers(entry: KindFaithfulness) -> list[str]:
    agreement = entry.agreement
    rho = "–"
    if agreement is not None and agreement.rho is not None:
        around = interval_of_rho(correlation_interval(agreement.rho, agreement.units))
        rho = f"{formatting.signed(agreement.rho)} ({around})"
    return [
        f"{entry.least.area:.3f}" if entry.least else "–",
        f"{entry.most.area:.3f}" if entry.most else "–",
        rho,
        "–" if entry.halves is None else formatting.signed(entry.halves),
    ]


def _predicted(trials: Sequence[Trial], method: str) -> Any:
    points = scatter.points(trials, method)
    said = scatter.sentence(points)
    figure = scatter.figure(points, parse_method(method)[0].quantity, None)
    return html.Section(
        [
            dmc.Title("Predicted against measured", order=2, size="h4", mb="xs"),
            html.P(said, className="quiet"),
            drawing.graph("predicted", figure, f"Predicted against measured. {said}") if points else None,
        ],
        className="trust-section",
    )


def _how() -> Any:
    lines = [html.Div([html.B(f"{name}: "), text]) for name, text in HOW]
    return html.Details([html.Summary("How is this computed?"), *lines], className="section how")
