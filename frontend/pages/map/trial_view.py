"""The figures of the tray: a trial, or the intact model. Contracts in, components out."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley import formatting
from modelshapley.contracts import Interval, Measured, Status, Trial
from modelshapley.methods import parse_method, reading_of

_LOST = (html.Div("The connection was lost; trying again …", className="quiet"),)


def intact_view(intact: Measured) -> Any:
    """Nothing is off: the intact model's accuracy."""
    return [
        html.Div(formatting.percent(intact.accuracy), className="figure-now", id="accuracy"),
        html.Div("the intact model", className="figure-change"),
        _strip(intact, intact.accuracy),
        html.Div(
            f"95 % interval {formatting.percent_interval(intact.interval)} · {intact.n} test examples",
            className="quiet",
        ),
        html.Div("Switch units off to see it move.", className="quiet"),
    ]


def trial_view(trial: Trial, intact: Measured, lost: bool, reading: str = "") -> Any:
    """The accuracy now against the intact model on the same examples, or why there is none.

    reading: the method whose map is on the page; its prediction stands beside what is measured.
    """
    if trial.status is Status.FAILED:
        return dmc.Alert(trial.error or "It failed.", title="Not measured", color="red", variant="light")
    if trial.status is Status.CANCELLED:
        return dmc.Alert(f"Not measured: {trial.error or 'it was cancelled'}.", color="gray", variant="light")
    sentence = prediction(trial, reading)
    told = html.Div(sentence, className="predicted", id="predicted") if sentence else None
    more = [html.Div(note, className="quiet") for note in notes(trial)]
    if trial.accuracy is None or trial.interval is None or trial.difference is None or trial.intact is None:
        waiting = "loading the model …" if trial.status is Status.RUNNING else "waiting for a worker …"
        return [
            *intact_view(intact)[:2],
            told,
            _strip(intact, intact.accuracy),
            html.Div(waiting, className="quiet"),
            *more,
            *(_LOST if lost else ()),
        ]
    now = Measured(accuracy=trial.accuracy, interval=trial.interval, n=trial.n)
    assert trial.difference_interval is not None
    lines = [
        html.Div(formatting.percent(now.accuracy), className="figure-now", id="accuracy"),
        html.Div(formatting.points(trial.difference), className="figure-change", id="difference"),
        html.Div(
            f"({formatting.points_interval(trial.difference_interval)}) against intact, same examples",
            className="quiet",
        ),
        told,
        _strip(now, trial.intact),
        html.Div(f"95 % interval {formatting.percent_interval(now.interval)}", className="quiet", id="interval"),
        html.Div(f"intact {formatting.percent(trial.intact)} on these examples", className="quiet"),
        dmc.Progress(
            value=100 * trial.n / trial.total,
            size="xs",
            my=6,
            **{"aria-label": "share of the test examples measured"},
        ),
        html.Div(_counting(trial, now), className="quiet", id="trial-n"),
        *more,
    ]
    return [*lines, *(_LOST if lost else ())]


def prediction(trial: Trial, reading: str) -> str | None:
    """What the map says of the units of a trial: '~ 0.312 nats: the sum of their scores (...)'.

    Before anything is measured in full; after, in few words. None where the run has no such map.
    """
    found = reading_of(reading, list(trial.predicted))
    if found is None:
        unsaid = trial.treatment.how != "scale" and not trial.n
        return "No prediction: scores tell what goes when units are switched off or scaled." if unsaid else None
    value = trial.predicted[found.computed]
    info = parse_method(found.computed)[0]
    what, comma, unit = info.quantity.rpartition(", ")
    if not comma or unit == "no unit":
        what, unit = info.quantity, ""
    sign = "+" if info.signed and value > 0 else ""
    number = f"~ {sign}{formatting.score(value)} {unit}".rstrip()
    if trial.n:
        return f"{number} predicted by the map{'' if found.computed == reading else ' as it was scored'}"
    scaled = (
        "" if trial.treatment.value == 0 else f" times {1 - trial.treatment.value:g}".replace("-", formatting.MINUS)
    )
    return f"{number}: the sum of their scores{scaled} ({what})"


def notes(trial: Trial) -> list[str]:
    """What else is to be known of how a trial was measured."""
    found = []
    if trial.restarts == 1:
        found.append("A worker was lost while measuring this; it was measured again.")
    elif trial.restarts > 1:
        found.append(f"Workers were lost {trial.restarts} times while measuring this; it was measured again.")
    if trial.recomputed:
        found.append(f"Every layer was computed: {trial.recomputed}")
    return found


def _counting(trial: Trial, now: Measured) -> str:
    if trial.status is not Status.DONE:
        return f"{trial.n} of {trial.total} test examples"
    if trial.n == trial.total:
        return f"measured on all {trial.total} test examples"
    return f"stopped at ±{half_width(now.interval)} after {trial.n} of {trial.total} test examples"


def half_width(interval: Interval) -> str:
    """Half of an interval's length, which is what an early stop goes by: '2.0 pts'."""
    return f"{100 * (interval[1] - interval[0]) / 2:.1f} pts"


def _strip(now: Measured, intact: float) -> Any:
    """0 to 100 %: the interval as a band, the accuracy as a dot, the intact model as a line."""
    low, high = (100 * end for end in now.interval)
    marks = [
        html.Div(className="track"),
        html.Div(className="band", style={"left": f"{low:.1f}%", "width": f"{high - low:.1f}%"}),
        html.Div(className="intact", style={"left": f"{100 * intact:.1f}%"}, title="intact"),
        html.Div(className="now", style={"left": f"{100 * now.accuracy:.1f}%"}),
    ]
    return html.Div(
        [
            html.Div(marks, className="strip"),
            html.Div([html.Span("0 %"), html.Span("100 %")], className="strip-ends quiet"),
        ],
        **{"aria-hidden": "true"},
    )
