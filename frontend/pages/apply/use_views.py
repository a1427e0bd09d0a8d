"""What came of fine-tuning, quantising, probing and amplifying, on the cards of the page Apply. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import dash_mantine_components as dmc
from dash import html

from frontend.pages.shared import tables
from modelshapley import formatting
from modelshapley.contracts import Comparison, Interval, Measured
from modelshapley.contracts.applications.finetuning import FinetuneArm, FinetunedInfo
from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.contracts.applications.reports import AmplifyReport, ProbeReport

ARMS = {
    "targeted": "chosen units",
    "random": "random units",
    "lora": "LoRA",
    "full": "all parameters",
}


def row(title: str, text: Any) -> Any:
    """A line of a card."""
    return html.Div([html.Strong(f"{title}: "), text])


def accuracy(trial: Comparison, other: str = "the parent") -> str:
    """Format an accuracy beside another one on the same examples."""
    return (
        f"{formatting.percent(trial.accuracy)} ({formatting.percent_interval(trial.interval)}), "
        f"{formatting.points(trial.difference)} ({formatting.points_interval(trial.difference_interval)}) against "
        f"{other}, n {trial.n}"
    )


def finetuned(info: FinetunedInfo) -> Any:
    """The trained model beside its controls."""
    targeted = info.arms[0]
    settings = info.settings
    examples = settings.batch * settings.accumulate
    learned = f"learning rate {settings.rate:g}, {targeted.steps} steps of {examples} examples"
    titles = ["Trained", "Parameters", "Loss, nats", "Accuracy", "Against the parent, pts", "Loss minus chosen"]
    table = tables.table(titles, [_arm(arm) for arm in info.arms], current=0)
    saved = "LoRA adapter for peft" if info.adapter else "whole model"
    return dmc.Stack(
        [
            row("Accuracy", accuracy(targeted.against_parent)),
            row("Trained", f"{formatting.units(info.trained_units)}; {learned}"),
            row(
                "Predicted before training",
                f"{formatting.percent(info.gradient_share)} of the squared gradient lies on them",
            ),
            html.Div(table, className="wide-table"),
            html.Div(
                f"The parent's loss is {formatting.score(info.parent_loss)} nats. Differences are paired, example by "
                f"example, with 95 % intervals. Saved as a {saved}; the controls are not saved.",
                className="quiet",
            ),
        ],
        gap=4,
    )


def _arm(arm: FinetuneArm) -> tuple[str, ...]:
    trial = arm.against_parent
    loss = "–"
    if arm.loss_minus_targeted is not None and arm.loss_interval is not None:
        loss = f"{_signed(arm.loss_minus_targeted)} ({_span(arm.loss_interval)})"
    return (
        ARMS[arm.name],
        f"{arm.trained:,}",
        formatting.score(arm.loss),
        formatting.percent(trial.accuracy),
        _points(trial.difference, trial.difference_interval),
        loss,
    )


def quantised(info: QuantisedInfo) -> Any:
    """The quantised model beside its parent."""
    size = f"{formatting.bytes_as_text(info.bytes)} instead of {formatting.bytes_as_text(info.parent_bytes)}"
    group = "" if info.group is None else f", a scale for each {info.group} weights"
    loss = (
        f"{formatting.score(info.loss)} nats, {_signed(info.loss_difference)} ({_span(info.loss_interval)}) against "
        f"the parent's {formatting.score(info.parent_loss)}"
    )
    largest = info.reload_max_logit_difference
    logits = f"its logits differ by at most {largest:.1g}" if largest else "it gives the same logits"
    lines = [
        row("Accuracy", accuracy(info.trial)),
        row("Loss", loss),
        row("Size", f"{size}. It is smaller on disk, and no faster on a CPU."),
        row("Scheme", f"{info.scheme}{group}; {info.maps} linear maps, calibrated with {info.calibration} sequences"),
        html.Div(
            f"Loaded again in a process of its own, {logits}. Its units are not scored: scores need plain weights.",
            className="quiet",
        ),
    ]
    if info.fallbacks:
        lines.insert(
            4, row("Fallbacks", f"{info.fallbacks} of {info.maps} maps were only rounded: the method failed there")
        )
    return dmc.Stack(lines, gap=2)


def probed(report: ProbeReport) -> Any:
    """What the chosen units hold, beside random ones and all."""
    rows = [
        Line("Chosen units", report.chosen.accuracy, report.chosen.interval),
        Line(f"Random units, {len(report.random)} draws", report.random_mean, None, report.random),
        Line("All units of the kind", report.everything.accuracy, report.everything.interval),
        Line("Most frequent class", report.majority.accuracy, report.majority.interval),
    ]
    difference = (
        f"{formatting.points(report.chosen_minus_random)} ({formatting.points_interval(report.random_interval)}), "
        f"n {report.chosen.n}"
    )
    verdict = _against_random(report.random_interval, "Read more", "Read less", "easily")
    return dmc.Stack(
        [
            row("Units", formatting.units(report.units)),
            row("Chosen minus random", difference),
            strips(rows),
            html.Div(
                f"{verdict} {report.classes} classes, read by a ridge classifier trained on {report.trained_on} probe "
                "examples; accuracy on the test examples.",
                className="quiet",
            ),
        ],
        gap=4,
    )


def amplified(report: AmplifyReport) -> Any:
    """The accuracy with the chosen units scaled, beside random ones."""
    rows = [Line("Intact", report.intact.accuracy, report.intact.interval)]
    rows += [
        Line(f"Times {point.factor:g}", point.chosen.accuracy, point.chosen.interval, point.random)
        for point in report.points
    ]
    titles = ["Factor", "Accuracy", "Against intact, pts", "Random units", "Chosen minus random, pts"]
    lines = [
        (
            f"{point.factor:g}",
            formatting.percent(point.chosen.accuracy),
            _points(point.chosen.difference, point.chosen.difference_interval),
            formatting.percent(point.random_mean),
            _points(point.chosen_minus_random, point.random_interval),
        )
        for point in report.points
    ]
    return dmc.Stack(
        [
            row("Units", formatting.units(report.units)),
            row("Intact", _measured(report.intact)),
            strips(rows),
            html.Details(
                [html.Summary("Differences"), html.Div(tables.table(titles, lines), className="wide-table")],
                className="section",
            ),
            html.Div(
                "Filled: chosen units, with the 95 % interval; rings: each draw of as many random units, scaled alike. "
                f"Differences are paired. {_verdict(report)}",
                className="quiet",
            ),
        ],
        gap=4,
    )


def _verdict(report: AmplifyReport) -> str:
    better = [p.factor for p in report.points if p.chosen.difference_interval[0] > 0 and p.random_interval[0] > 0]
    if better:
        return f"Better than intact and than random units: times {', '.join(f'{factor:g}' for factor in better)}."
    return "No factor is better than both the intact model and random units."


def _against_random(interval: Interval, more: str, less: str, how: str) -> str:
    if interval[0] > 0:
        return f"{more} {how} than from random units."
    if interval[1] < 0:
        return f"{less} {how} than from random units."
    return "Nothing separates them from random units."


@dataclass(frozen=True)
class Line:
    """An accuracy with its interval, and those of random draws."""

    title: str
    value: float
    interval: Interval | None
    draws: Sequence[float] = ()

    @property
    def least(self) -> float:
        """The lowest of its numbers."""
        return min(self.value, *(self.interval or ()), *self.draws, 1.0)


def strips(lines: Sequence[Line]) -> Any:
    """Accuracies on lines from the lowest, rounded down to 10 %, to 100 %: intervals as bands, draws as light dots."""
    low = min(0.9, floor(10 * min(line.least for line in lines)) / 10)
    ends = [html.Span(formatting.percent(end).replace(".0", "")) for end in (low, 1.0)]
    scale = html.Div([html.Div(), html.Div(ends, className="strip-ends quiet")], className="use-strip")
    return html.Div([*(_strip(line, low) for line in lines), scale], className="use-strips")


def _strip(line: Line, low: float) -> Any:
    def place(share: float) -> str:
        return f"{100 * (share - low) / (1 - low):.2f}%"

    marks = [html.Div(className="track")]
    if line.interval is not None:
        begin, end = line.interval
        marks.append(html.Div(className="band", style={"left": place(begin), "width": place(low + end - begin)}))
    marks += [html.Div(className="draw", style={"left": place(draw)}) for draw in line.draws]
    if line.interval is not None:
        marks.append(html.Div(className="now", style={"left": place(line.value)}))
    return html.Div(
        [
            html.Div(line.title, className="use-strip-title"),
            html.Div(marks, className="strip", **{"aria-hidden": "true"}),
            html.Div(formatting.percent(line.value), className="use-strip-value"),
        ],
        className="use-strip",
    )


def _measured(measured: Measured) -> str:
    return f"{formatting.accuracy(measured)}, n {measured.n}"


def _points(difference: float, interval: Interval) -> str:
    """Format a difference in percentage points without its unit, which the column names."""
    return f"{formatting.points(difference)} ({formatting.points_interval(interval)})".replace(" pts", "")


def _signed(value: float) -> str:
    """Format a difference of losses, nats."""
    return f"{value:+.4f}".replace("-", formatting.MINUS)


def _span(interval: Interval) -> str:
    return f"{_signed(interval[0])} to {_signed(interval[1])}"
