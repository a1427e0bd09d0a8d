"""The tray's figures, from contracts to components: a trial, or the intact model."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley import formatting
from modelshapley.contracts import Interval, Measured, Status, Trial, Waiting
from modelshapley.methods import parse_method, reading_of

_RECONNECTING = (html.Div("Connection lost. Reconnecting …", className="quiet"),)


def intact_view(intact: Measured) -> Any:
    """The intact model's accuracy, for when nothing is off."""
    return [
        html.Div(formatting.percent(intact.accuracy), className="figure-now", id="accuracy"),
        html.Div("intact model", className="figure-caption"),
        _strip(intact, intact.accuracy),
        html.Div(
            f"95 % interval {formatting.percent_interval(intact.interval)} · {intact.n} test examples",
            className="quiet",
        ),
        html.Div("Switch units off to see how it changes.", className="quiet"),
    ]


def trial_view(trial: Trial, intact: Measured, lost: bool, reading: str = "") -> Any:
    """The accuracy compared with the intact model on the same examples, or why there is none.

    reading: the method whose map is on the page; its prediction is given beside the measurement.
    """
    if trial.status is Status.FAILED:
        return dmc.Alert(trial.error or "The trial failed.", title="Not measured", color="red", variant="light")
    if trial.status is Status.CANCELLED:
        return dmc.Alert(f"Not measured: {trial.error or 'it was cancelled'}.", color="gray", variant="light")
    sentence = prediction(trial, reading)
    predicted = html.Div(sentence, className="predicted", id="predicted") if sentence else None
    more = [html.Div(note, className="quiet") for note in notes(trial)]
    if trial.accuracy is None or trial.interval is None or trial.difference is None or trial.intact is None:
        waiting = "loading the model …" if trial.status is Status.RUNNING else (trial.waiting or Waiting()).sentence
        return [
            *intact_view(intact)[:2],
            predicted,
            _strip(intact, intact.accuracy),
            html.Div(waiting, className="quiet"),
            *more,
            *(_RECONNECTING if lost else ()),
        ]
    figures = _measured(trial, predicted) if trial.status is Status.DONE else _so_far(trial, intact, predicted)
    return [*figures, *more, *(_RECONNECTING if lost else ())]


def _measured(trial: Trial, predicted: Any) -> list[Any]:
    """The figures of a trial that has ended: the accuracy, and its change on the same examples."""
    now, intact = _figures(trial)
    assert trial.difference is not None
    assert trial.difference_interval is not None
    return [
        html.Div(formatting.percent(now.accuracy), className="figure-now", id="accuracy"),
        html.Div(formatting.points(trial.difference), className="figure-change", id="difference"),
        html.Div(
            f"({formatting.points_interval(trial.difference_interval)}) vs. intact, same examples",
            className="quiet",
        ),
        predicted,
        _strip(now, intact),
        html.Div(f"95 % interval {formatting.percent_interval(now.interval)}", className="quiet", id="interval"),
        html.Div(f"intact {formatting.percent(intact)} on these examples", className="quiet"),
        _bar(trial),
        html.Div(_progress(trial, now), className="quiet", id="trial-n"),
    ]


def _so_far(trial: Trial, whole: Measured, predicted: Any) -> list[Any]:
    """The figures of a trial that goes on. Large is what is settled; what may still change is grey and says its n.

    whole: the intact model on all test examples. Its accuracy on the first ones may be another, so that the accuracy
    so far never stands alone: only its change on the same examples does.
    """
    now, intact = _figures(trial)
    assert trial.difference is not None
    assert trial.difference_interval is not None
    return [
        html.Div(formatting.percent(whole.accuracy), className="figure-now", id="accuracy"),
        html.Div("intact model", className="figure-caption"),
        html.Div(
            f"{formatting.points(trial.difference)} so far", className="figure-change preliminary", id="difference"
        ),
        html.Div(
            f"({formatting.points_interval(trial.difference_interval)}) vs. intact, same examples", className="quiet"
        ),
        predicted,
        _strip(now, intact, preliminary=True),
        html.Div(
            f"95 % interval of the accuracy so far {formatting.percent_interval(now.interval)}",
            className="quiet",
            id="interval",
        ),
        html.Div(
            f"{formatting.percent(now.accuracy)} without the units, {formatting.percent(intact)} intact, on these",
            className="quiet",
        ),
        _bar(trial),
        html.Div(_progress(trial, now), className="quiet", id="trial-n"),
    ]


def _figures(trial: Trial) -> tuple[Measured, float]:
    """Return the accuracy of a trial that has measured some examples, and the intact one on the same examples."""
    assert trial.accuracy is not None
    assert trial.interval is not None
    assert trial.intact is not None
    return Measured(accuracy=trial.accuracy, interval=trial.interval, n=trial.n), trial.intact


def _bar(trial: Trial) -> Any:
    value = 100 * trial.n / trial.total
    return dmc.Progress(value=value, size="xs", my=6, **{"aria-label": "share of the test examples measured"})


def prediction(trial: Trial, reading: str) -> str | None:
    """Say what the map predicts for a trial; None where the run has no such map."""
    resolved = reading_of(reading, list(trial.predicted))
    if resolved is None:
        unpredictable = trial.treatment.how != "scale" and not trial.n
        return "No prediction: scores apply to units that are switched off or scaled." if unpredictable else None
    value = trial.predicted[resolved.computed]
    info = parse_method(resolved.computed)[0]
    quantity, unit = split_quantity(info.quantity)
    sign = "+" if info.signed and value > 0 else ""
    number = f"{sign}{formatting.score(value)} {unit.removesuffix(' per example')}".rstrip()
    # Scores that estimate a change in loss add up to a prediction of it; those of other methods to a mere sum.
    predicts_loss = "loss increase" in quantity or "value of the loss" in quantity
    sentence = f"predicted loss increase about {number}" if predicts_loss else f"sum of scores about {number}"
    if trial.n:
        return f"{sentence}{'' if resolved.computed == reading else ', by the map as it was scored'}"
    factor = 1 - trial.treatment.value
    scaled = "" if factor == 1 else f" × {factor:g}".replace("-", formatting.MINUS)
    return f"{sentence} ({f'sum of scores{scaled}' if predicts_loss else f'{quantity}{scaled}'})"


def split_quantity(quantity: str) -> tuple[str, str]:
    """Split 'mean |activation|, units of activation' or 'loss increase (nats)' into a quantity and its unit."""
    name, bracket, unit = quantity.removesuffix(")").rpartition(" (")
    if not (bracket and quantity.endswith(")")):
        name, _, unit = quantity.rpartition(", ")
    return (name, "" if unit == "no unit" else unit) if name else (quantity, "")


def notes(trial: Trial) -> list[str]:
    """Notes on how a trial was measured."""
    texts = []
    if trial.restarts == 1:
        texts.append("A worker was lost during this trial. It was measured again.")
    elif trial.restarts > 1:
        texts.append(f"Workers were lost {trial.restarts} times during this trial. It was measured again.")
    if trial.recomputed:
        texts.append(f"Every layer was computed: {trial.recomputed}")
    return texts


def _progress(trial: Trial, now: Measured) -> str:
    if trial.status is not Status.DONE:
        return f"{trial.n} of {trial.total} test examples"
    if trial.n == trial.total:
        return f"measured on all {trial.total} test examples"
    return f"stopped at ±{half_width(now.interval)} after {trial.n} of {trial.total} test examples"


def half_width(interval: Interval) -> str:
    """Return half of an interval's length, the criterion for an early stop: '2.0 pts'."""
    return f"{100 * (interval[1] - interval[0]) / 2:.1f} pts"


def _strip(now: Measured, intact: float, preliminary: bool = False) -> Any:
    """A scale from 0 to 100 %: the interval as a band, the accuracy as a dot, the intact model as a line."""
    low, high = (100 * end for end in now.interval)
    marks = [
        html.Div(className="track"),
        html.Div(className="band", style={"left": f"{low:.1f}%", "width": f"{high - low:.1f}%"}),
        html.Div(className="intact", style={"left": f"{100 * intact:.1f}%"}, title="intact"),
        html.Div(className="now", style={"left": f"{100 * now.accuracy:.1f}%"}),
    ]
    return html.Div(
        [
            html.Div(marks, className="strip preliminary" if preliminary else "strip"),
            html.Div([html.Span("0 %"), html.Span("100 %")], className="strip-ends quiet"),
        ],
        **{"aria-hidden": "true"},
    )
