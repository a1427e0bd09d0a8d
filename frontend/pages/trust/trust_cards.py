"""Cards with one number of a report each: agreement, halves, sums."""

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
    """Lay out the cards of one kind of unit."""
    cards = [
        _agreement(entry.agreement) if entry.agreement else None,
        _halves(entry.halves, run, unit),
        _efficiency(entry.efficiency, run) if entry.efficiency else _no_efficiency(entry),
    ]
    return html.Div([card for card in cards if card is not None], className="trust-grid three")


def _card(title: str, content: Sequence[Any]) -> Any:
    return dmc.Paper([dmc.Title(title, order=2, size="h4"), *content], withBorder=True, p="md", radius="md")


def _agreement(agreement: Agreement) -> Any:
    title = "Agreement with Shapley values"
    about = (
        f"{agreement.units} random units, {agreement.examples} probe examples, {agreement.coalitions} coalitions each."
    )
    if agreement.rho is None:
        return _card(title, [html.P(f"Not available: all scores or all sampled values are equal. {about}")])
    interval = correlation_interval(agreement.rho, agreement.units)
    most = sqrt(agreement.reliability) if agreement.reliability else None
    ceiling = (
        f"At most {most:.2f} can be expected: the sampled values have a reliability of {agreement.reliability:.2f}."
        if most is not None
        else "Reference too noisy to compare."
    )
    return _card(
        title,
        [
            _rho(agreement.rho, interval),
            scale(agreement.rho, interval, most),
            html.Div(ceiling),
            html.Div(f"Spearman's ρ. {about}", className="quiet"),
        ],
    )


def _halves(halves: float | None, run: Run, unit: UnitKind) -> Any:
    title = "Agreement of two halves"
    if halves is None:
        return _card(title, [html.P("Not available: too few examples, or all scores are equal.")])
    units = UnitShapes.from_dict(run.shapes, run.layout.ragged).count(unit)
    interval = correlation_interval(halves, units)
    return _card(
        title,
        [
            _rho(halves, interval),
            scale(halves, interval, None),
            html.Div("Two random halves of the probe set, ranked separately. The whole set is more stable."),
            html.Div(f"Spearman's ρ over {units:,} units; {run.progress.total} examples, halved.", className="quiet"),
        ],
    )


def _rho(rho: float, interval: Interval) -> Any:
    return html.Div(
        [html.Span(f"ρ {formatting.signed(rho)}", className="card-figure"), html.Span(interval_of_rho(interval))],
        className="figure-line",
    )


def scale(rho: float, interval: Interval, most: float | None) -> Any:
    """A scale from -1 to 1: the interval as a band, rho as a dot, the most that can be expected as a line."""
    low, high = interval
    marks = [
        html.Div(className="track"),
        html.Div(className="zero", style={"left": "50%"}),
        html.Div(className="band", style={"left": _position(low), "width": f"{50 * (high - low):.1f}%"}),
        html.Div(className="intact", style={"left": _position(most)}) if most is not None else None,
        html.Div(className="now", style={"left": _position(rho)}),
    ]
    ends = [html.Span(f"{formatting.MINUS}1 reversed"), html.Span("0 chance"), html.Span("1 identical")]
    return html.Div(
        [html.Div(marks, className="strip"), html.Div(ends, className="strip-ends quiet")],
        className="scale",
        **{"aria-hidden": "true"},
    )


def _position(rho: float) -> str:
    return f"{50 * (rho + 1):.1f}%"


def _efficiency(efficiency: Efficiency, run: Run) -> Any:
    most = max(abs(efficiency.scores), abs(efficiency.measured)) or 1.0
    gap = f"{100 * efficiency.gap:+.0f} %".replace("-", formatting.MINUS)
    return _card(
        "Do the scores add up?",
        [
            html.Div(
                [html.Span(gap, className="card-figure"), html.Span("compared with the measured loss")],
                className="figure-line",
            ),
            bar("sum of scores", efficiency.scores, most, "bar-map"),
            bar("measured, all units off", efficiency.measured, most, "bar-truth"),
            html.Div(
                f"Loss in nats per example, on the same {run.progress.total} scored examples. The gap is due to the "
                "method, so it has no interval.",
                className="quiet",
            ),
        ],
    )


def bar(label: str, value: float, most: float, css: str) -> Any:
    """A labelled bar; `most` is its full width."""
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
        [html.P("Not applicable: the scores of this method rank units and do not add up to the loss.")],
    )
