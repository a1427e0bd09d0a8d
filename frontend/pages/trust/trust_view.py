"""The evidence on one kind of unit of one map, from report to components."""

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
    Finding,
    KindFaithfulness,
    MethodInfo,
    Outcome,
    RandomCurve,
    Run,
    Status,
    Trial,
    Verdict,
)
from modelshapley.evaluation.verdict import (
    LEAST_TEST,
    MOST_TEST,
    entry_of,
    interval_of_rho,
    random_curve_of,
    verdict,
)
from modelshapley.maps.compare import correlation_interval
from modelshapley.methods import parse_method
from modelshapley.units import UnitKind

SYMBOLS: Mapping[Outcome, str] = {"passed": "✔", "inconclusive": "◌", "failed": "✘"}
EXPLANATION = (
    (
        "Curves",
        "Growing shares of the least (or most) important units are switched off on the live model. Accuracy is "
        "measured on held-out examples, which the scores were not computed on. Bands: 95 % intervals (Wilson). Random "
        "orders: from the lowest draw to the highest, each with its own interval. The paper deactivates the least "
        "important 5 and 30 % in the same way (section 5, Table 1).",
    ),
    (
        "Sampled Shapley values",
        "Mean marginal utility in random coalitions, on probe examples, for a random subset of the units (section 1 of "
        "the paper for the game; Owen 1972 for the sampling). Reliability: the expected correlation with a second "
        "sample of as many coalitions. No scores can be expected to correlate by more than its square root.",
    ),
    (
        "Sum",
        "Shapley values add up to the value of all units together (efficiency, section 1). Tested only for methods "
        "that estimate Shapley values.",
    ),
    ("Halves", "The probe set is split at random, both halves are scored, and their rankings are compared."),
    (
        "Verdict",
        "Three tests against chance, each passed, failed or inconclusive. The thresholds and their reasons: "
        "docs/methods.md, How a verdict is made.",
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
    """Lay out the evidence. method: as scored. reread: the map page displays it with another discount for harm."""
    entry, random = entry_of(report, method, unit), random_curve_of(report, unit)
    judged = verdict(report, method, unit)
    parts = [
        _verdict(judged, reread),
        state_of(report, measured=bool(judged.findings)),
        _curves(entry, random, unit) if entry else None,
        trust_cards.layout(entry, run, unit) if entry else None,
        _all_methods(report, run, method, unit, infos, random),
        _predicted(trials, method),
        _explanation(),
    ]
    return [part for part in parts if part is not None]


def _verdict(judged: Verdict, reread: bool) -> Any:
    mark = [html.Span(judged.mark.shape, **{"aria-hidden": "true"}), f" {judged.mark.value}"]
    name = judged.mark.name.lower()
    note = "Measured with the map as it was scored, not with the discount for harm that the map page uses."
    return dmc.Paper(
        [
            html.Div(mark, className=f"mark mark-{name}", id="verdict-mark"),
            html.P(judged.sentence.replace("ρ ", "ρ\u00a0"), className="verdict", id="verdict"),
            _details(judged.findings),
            html.Div(note, className="quiet") if reread else None,
        ],
        withBorder=True,
        p="lg",
        radius="md",
        className=f"verdict-card of-{name}",
    )


def _details(findings: Sequence[Finding]) -> Any:
    if not findings:
        return None
    tests = html.Ul([_finding(finding) for finding in findings], className="findings")
    return html.Details([html.Summary("Details"), tests], className="section")


def _finding(finding: Finding) -> Any:
    return html.Li(
        [
            html.Span(SYMBOLS[finding.outcome], className="outcome", **{"aria-hidden": "true"}),
            html.Div([html.Strong(f"{finding.name}: {finding.outcome}. "), finding.full]),
        ]
    )


def state_of(report: Faithfulness, measured: bool) -> Any:
    """The state of the check, with the action that it allows."""
    if not report.status.ended:
        progress = report.progress
        share = 100 * progress.done / progress.total if progress.total else 0
        state = (
            f"{progress.done} of {progress.total} measurements" if progress.done else "it runs when no other work waits"
        )
        return html.Div(
            [
                html.Div(f"{report.effort.capitalize()} check in progress: {state}.", id="check-progress"),
                dmc.Progress(value=share, size="sm", mt=6, **{"aria-label": "progress of the check"}),
                dmc.Button("Cancel the check", id="cancel-check", size="xs", variant="default", mt="sm"),
            ],
            className="check-state",
            role="status",
        )
    if report.error:
        return dmc.Alert(
            [html.P(report.error, style={"margin": "0 0 10px"}), check_button("Try again", report.effort)],
            title="The check stopped",
            color="red",
            variant="light",
            className="check-state",
        )
    if report.status is Status.CANCELLED:
        about = f"The check was cancelled after {report.progress.done} of {report.progress.total} measurements."
        return html.Div([html.P(about), dmc.Group(_both_buttons())], className="check-state")
    if not measured:
        about = "A quick check takes about as long as scoring. Other work takes precedence."
        return html.Div([html.P(about), dmc.Group(_both_buttons())], className="check-state")
    if report.effort == "quick":
        draws = min((curve.draws for curve in report.random), default=0)
        orders = "one random order" if draws == 1 else f"{draws or 'few'} random orders"
        about = (
            f"This was a quick check, with few examples and {orders}. A thorough check uses all test examples, "
            "eight shares and five random orders, and replaces these results."
        )
        return html.Div([html.P(about), check_button("Check thoroughly", "full", "default")], className="check-state")
    return None


def _both_buttons() -> list[Any]:
    return [check_button("Check now", "quick"), check_button("Check thoroughly", "full", "default")]


def check_button(label: str, effort: str, variant: str = "filled") -> Any:
    """A button that starts a check of an effort."""
    return dmc.Button(label, id={"type": "check", "effort": effort}, variant=variant, size="sm")


def _curves(entry: KindFaithfulness, random: RandomCurve | None, unit: UnitKind) -> Any:
    if entry.least is None or entry.most is None:
        return None
    return html.Div(
        [_curve(entry.least, random, unit, LEAST_TEST), _curve(entry.most, random, unit, MOST_TEST)],
        className="trust-grid",
    )


def _curve(curve: Curve, random: RandomCurve | None, unit: UnitKind, title: str) -> Any:
    sentence = check_curves.sentence(curve, random, unit)
    return dmc.Paper(
        [
            dmc.Title(title, order=2, size="h4"),
            html.Div(
                f"The {curve.which} important {formatting.PLURALS[unit]} are switched off first. {curve.points[0].n} "
                "held-out examples; bands are 95 % intervals.",
                className="quiet",
            ),
            drawing.graph(f"curve-{curve.which}", check_curves.figure(curve, random, unit), sentence),
            html.Div(sentence, className="quiet"),
            _points(curve, random, unit),
        ],
        withBorder=True,
        p="md",
        radius="md",
    )


def _points(curve: Curve, random: RandomCurve | None, unit: UnitKind) -> Any:
    """The curve as a table."""
    by_share = {} if random is None else dict(zip(random.fractions, check_curves.ranges(random), strict=True))
    titles = ("Off", "Accuracy", "Change from intact", "Random orders (lowest to highest)")
    rows = [
        [
            f"{100 * p.fraction:g} % ({formatting.counted(unit, p.units)})",
            f"{formatting.percent(p.accuracy)} ({formatting.percent_interval(p.interval)})",
            f"{formatting.points(p.difference)} ({formatting.points_interval(p.difference_interval)})",
            by_share.get(p.fraction, "not measured"),
        ]
        for p in curve.points
    ]
    return html.Details(
        [
            html.Summary("Table"),
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
    current: str,
    unit: UnitKind,
    infos: Mapping[str, MethodInfo],
    random: RandomCurve | None,
) -> Any:
    titles = ("Method", "Verdict", "Area, least off", "Area, most off", "ρ with Shapley values", "ρ of halves")
    rows: list[list[Any]] = []
    for method in run.methods:
        entry = entry_of(report, method, unit)
        if entry is None:
            continue
        mark = verdict(report, method, unit).mark
        title = formatting.method(method, infos)
        name = title if method == current else dcc.Link(title, href=address.trust(run.id, method, unit))
        rows.append([name, f"{mark.shape} {mark.value}", *_numbers(entry)])
    if random is not None:
        rows.append([f"Random orders ({random.draws})", "", f"{random.area:.3f}", "", "", ""])
    return html.Section(
        [
            dmc.Title(f"All methods of this run ({formatting.PLURALS[unit]})", order=2, size="h4", mb="xs"),
            html.Div(
                tables.table(titles, rows, run.methods.index(current) if current in run.methods else None),
                className="scroll-x",
                tabIndex=0,
                role="region",
                **{"aria-label": "All methods of this run"},
            ),
            html.Div(
                "Area: mean accuracy over the measured shares. Least off: higher is better. Most off: lower is better. "
                "ρ with 95 % intervals over units.",
                className="quiet",
            ),
        ],
        className="trust-section",
    )


def _numbers(entry: KindFaithfulness) -> list[str]:
    agreement = entry.agreement
    rho = "–"
    if agreement is not None and agreement.rho is not None:
        interval = interval_of_rho(correlation_interval(agreement.rho, agreement.units))
        rho = f"{formatting.signed(agreement.rho)} ({interval})"
    return [
        f"{entry.least.area:.3f}" if entry.least else "–",
        f"{entry.most.area:.3f}" if entry.most else "–",
        rho,
        "–" if entry.halves is None else formatting.signed(entry.halves),
    ]


def _predicted(trials: Sequence[Trial], method: str) -> Any:
    points = scatter.points(trials, method)
    sentence = scatter.sentence(points)
    figure = scatter.figure(points, parse_method(method)[0].quantity, None)
    return html.Section(
        [
            dmc.Title("Predicted vs. measured", order=2, size="h4", mb="xs"),
            html.P(sentence, className="quiet"),
            drawing.graph("predicted", figure, f"Predicted vs. measured. {sentence}") if points else None,
        ],
        className="trust-section",
    )


def _explanation() -> Any:
    lines = [html.Div([html.B(f"{name}: "), text]) for name, text in EXPLANATION]
    return html.Details([html.Summary("How is this computed?"), *lines], className="section how")
