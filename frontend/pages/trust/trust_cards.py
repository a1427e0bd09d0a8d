"""Numbers about a map that are one figure each: agreement, halves, sums. Report in, components out."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley import formatting
from modelshapley.contracts import Agreement, Efficiency, Interval, KindFaithfulness, Run
from modelshapley.evaluation.verdict import interval_of_rho
from modelshapley.maps.compare import correlation_interval
from modelshapley.units import UnitKind, UnitShapes


def layout(entry: KindFaithfulness, run: Run, unit: UnitKind) -> Any:
    cards = [
        _agreement(entry.agreement) if entry.agreement else None,
        _halves(entry.halves, run, unit),
        _efficiency(entry.efficiency, run) if entry.efficiency else _no_efficiency(entry),
    ]
    return html.Div([card for card in cards if card is not None], className="trust-grid three")


def _card(title: str, content: Sequence[Any]) -> Any:
    return dmc.Paper([dmc.Title(title, order=2, size="h4"), *content], withBorder=True, p="md", radius="md")


def _agreement(found: Agreement) -> Any:
    title = "Agreement with Shapley values"
    about = f"{found.units} random units, {found.examples} probe examples, {found.coalitions} coalitions each."
    if found.rho is None:
        return _card(title, [html.P(f"It cannot be told: all scores or all sampled values are equal. {about}")])
    interval = correlation_interval(found.rho, found.units)
    most = sqrt(found.reliability) if found.reliability else None
    ceiling = (
        f"The sample itself is reliable to {found.reliability:.2f}, so that at most {most:.2f} can be expected."
        if most is not None
        else "The sample is too noisy to expect any agreement."
    )
    return _card(
        title,
        [
            _rho(found.rho, interval),
            scale(found.rho, interval, most),
            html.Div(ceiling),
            html.Div(f"Spearman's ρ. {about}", className="quiet"),
        ],
    )


def _halves(halves: float | None, run: Run, unit: UnitKind) -> Any:
    title = "Do two halves agree?"
    if halves is None:
        return _card(title, [html.P("It cannot be told: too few examples, or all scores are equal.")])
    units = UnitShapes.from_dict(run.shapes, run.layout.ragged).count(unit)
    interval = correlation_interval(halves, units)
    return _card(
        title,
        [
            _rho(halves, interval),
            scale(halves, interval, None),
            html.Div("How alike two random halves of the probe set order the units. With all examples it is more."),
            html.Div(f"Spearman's ρ of {units:,} units; {run.progress.total} examples, halved.", className="quiet"),
        ],
    )


def _rho(rho: float, interval: Interval) -> Any:
    return html.Div(
        [html.Span(f"ρ {formatting.signed(rho)}", className="card-figure"), html.Span(interval_of_rho(interval))],
        className="figure-line",
    )


def scale(rho: float, interval: Interval, most: float | None) -> Any:
    """-1 to 1: the interval as a band, rho as a dot, what can be expected at most as a line."""
    low, high = interval
    marks = [
        html.Div(className="track"),
        html.Div(className="zero", style={"left": "50%"}),
        html.Div(className="band", style={"left": _along(low), "width": f"{50 * (high - low):.1f}%"}),
        html.Div(className="intact", style={"left": _along(most)}) if most is not None else None,
        html.Div(className="now", style={"left": _along(rho)}),
    ]
    ends = [html.Span(f"{formatting.MINUS}1 reversed"), html.Span("0 chance"), html.Span("1 the same")]
    return html.Div(
        [html.Div(marks, className="strip"), html.Div(ends, className="strip-ends quiet")],
        className="scale",
        **{"aria-hidden": "true"},
    )


def _along(rho: float) -> str:
    return f"{50 * (rho + 1):.1f}%"


def _efficiency(found: Efficiency, run: Run) -> Any:
    most = max(abs(found.scores), abs(found.measured)) or 1.0
    gap = f"{100 * found.gap:+.0f} %".replace("-", formatting.MINUS)
    return _card(
        "Do the scores add up?",
        [
            html.Div(
                [html.Span(gap, className="card-figure"), html.Span("off what was measured")],
                className="figure-line",
            ),
            bar("sum of the scores", found.scores, most, "bar-map"),
            bar("measured, all units off", found.measured, most, "bar-truth"),
            html.Div(
                f"Nats of loss an example, on the {run.progress.total} that were scored; both are of the same "
                "examples, so the gap is the method's and has no interval.",
                className="quiet",
            ),
        ],
    )


def bar(label: str, value: float, most: float, css: str) -> Any:
    width = f"{100 * abs(value) / most:.1f}%"
    return html.Div(
        [
            html.Div([html.Span(label), html.Span(f"{formatting.score(value)} nats")], className="bar-text"),
            html.Div(html.Div(className=f"bar {css}", style={"width": width}), className="bar-track"),
        ]
    )


def _no_efficiency(entry: KindFaithfulness) -> Any:
    if entry.agreement is None:
        return None
    return _card(
        "Do the scores add up?",
        [html.P("Not asked: scores of this method rank units, and are not meant to add up to the loss.")],
    )
