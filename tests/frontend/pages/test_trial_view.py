"""What is told of a trial: its prediction, where it stopped, what went wrong; and the scatter of many."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from frontend.figures import scatter
from frontend.pages.map import groups
from frontend.pages.map.trials import past_trials
from frontend.pages.map.trials.trial_view import notes, prediction, trial_view
from modelshapley.contracts import GroupRequest, Measured, Off, Status, Trial, Waiting
from modelshapley.units import OFF, Deactivation, Treatment, UnitKind

MINUS = "\u2212"
INTACT = Measured(accuracy=0.98, interval=(0.96, 0.99), n=360)


def trial(n: int = 360, change: float | None = -0.1, **given: Any) -> Trial:
    result = {}
    if n and change is not None:
        result = {
            "accuracy": 0.98 + change,
            "interval": (0.95 + change, 1.0 + change),
            "intact": 0.98,
            "difference": change,
            "difference_interval": (change - 0.02, change + 0.02),
        }
    fixed = {"id": "t", "run": "r", "status": Status.DONE, "off": Off(head=[(0, 1)]), "total": 360}
    told = {"counts": {"head": 1}, "n": n, "created": datetime(2026, 11, 25, tzinfo=UTC)}
    return Trial(**(fixed | told | result | given))


def text(components: Any) -> str:
    """All that can be read in a tree of components."""
    if isinstance(components, list | tuple):
        return " ".join(filter(None, map(text, components)))
    if components is None or isinstance(components, str | int | float):
        return "" if components is None else str(components)
    return text(getattr(components, "children", None))


WAITING: dict[str, Any] = {"n": 0, "status": Status.QUEUED}


@pytest.mark.parametrize(
    ("method", "value", "told"),
    [
        (
            "two-sided",
            0.312,
            "predicted loss increase about 0.312 nats (sum of scores)",
        ),
        (
            "model-shapley",
            0.312,
            "predicted loss increase about +0.312 nats (sum of scores)",
        ),
        (
            "model-shapley",
            -0.05,
            f"predicted loss increase about {MINUS}0.0500 nats (sum of scores)",
        ),
        ("mean-abs", 0.312, "sum of scores about 0.312 nats (mean |dLoss/dgate| per example)"),
        ("random", 1.5, "sum of scores about 1.50 (uniform draw from 0 to 1)"),
    ],
)
def test_a_prediction_is_called_what_it_is(method: str, value: float, told: str) -> None:
    assert prediction(trial(**WAITING, predicted={method: value}), method) == told


def test_a_prediction_stays_in_few_words_and_says_whose_reading_it_is() -> None:
    measured = trial(predicted={"two-sided": 0.312})
    assert prediction(measured, "two-sided") == "predicted loss increase about 0.312 nats"
    reread = prediction(measured, "two-sided,harm=0.25")
    assert reread == "predicted loss increase about 0.312 nats, by the map as it was scored"
    assert prediction(measured, "mean-abs") is None


def test_a_prediction_of_scaled_units_says_what_is_taken() -> None:
    scaled = trial(**WAITING, predicted={"two-sided": 0.1}, treatment=Treatment("scale", 0.5))
    assert "0.100 nats (sum of scores × 0.5)" in str(prediction(scaled, "two-sided"))
    more = trial(**WAITING, predicted={"two-sided": -0.1}, treatment=Treatment("scale", 1.5))
    assert f"{MINUS}0.100 nats (sum of scores × {MINUS}0.5)" in str(prediction(more, "two-sided"))
    unsaid = trial(**WAITING, treatment=Treatment("mean"))
    assert str(prediction(unsaid, "two-sided")).startswith("No prediction:")


def test_an_early_stop_tells_how_wide_and_after_how_many() -> None:
    shown = text(trial_view(trial(n=128, half_width=0.05), INTACT, False, "two-sided"))
    assert "stopped at ±2.5 pts after 128 of 360 test examples" in shown
    assert "measured on all 360 test examples" in text(trial_view(trial(), INTACT, False, "two-sided"))


def test_what_went_otherwise_is_told() -> None:
    assert notes(trial()) == []
    lost, slow = notes(trial(restarts=1, recomputed="its blocks are no chain."))
    assert lost == "A worker was lost during this trial. It was measured again."
    assert slow == "Every layer was computed: its blocks are no chain."
    assert "lost 3 times" in notes(trial(restarts=3))[0]


def test_before_it_is_measured_the_prediction_is_what_stands_there() -> None:
    shown = text(trial_view(trial(**WAITING, predicted={"two-sided": 0.3}), INTACT, False, "two-sided"))
    assert "predicted loss increase about 0.300 nats" in shown
    assert "waiting for a worker" in shown


def test_the_scatter_has_trials_that_are_done_and_predicted() -> None:
    several = [
        trial(id="a", change=-0.1, predicted={"m": 0.1}),
        trial(id="b", change=-0.2, predicted={"m": 0.3}),
        trial(id="c", change=-0.3, predicted={"m": 0.4}),
        trial(id="d", change=-0.3, predicted={"other": 0.4}),
        trial(id="e", status=Status.RUNNING, predicted={"m": 0.4}),
    ]
    found = scatter.points(several, "m")
    assert [p.trial for p in found] == ["a", "b", "c"]
    assert found[0].change == pytest.approx(-10)
    assert found[0].interval == pytest.approx((-12, -8))
    assert scatter.sentence(found).startswith(f"Spearman's ρ {MINUS}1.00 over 3 trials")
    assert "at least three that differ" in scatter.sentence(found[:2])
    assert "at least two trials" in scatter.sentence([])
    figure = scatter.figure(found, "a quantity, nats", "b")
    assert [len(trace["x"]) for trace in figure["data"]] == [2, 1]


def test_the_list_tells_units_treatment_figures_and_status() -> None:
    rows = text(past_trials.table([trial(treatment=Treatment("offset", 2.0)), trial(id="u", **WAITING)], "t"))
    assert "head 0.1 plus 2 standard deviations" in rows
    assert f"{MINUS}12.0 to {MINUS}8.0" in rows
    assert "all 360" in rows
    assert "waiting" in rows
    assert re.search("No trials yet", text(past_trials.table([], None)))


def test_a_group_needs_units_and_a_name() -> None:
    heads = Deactivation.of({UnitKind.HEAD: [(0, 1)]})
    assert "Select units first" in str(groups.to_save("a", "m", Deactivation()))
    assert groups.to_save(" ", "m", heads) == "Enter a name for the group."
    assert "at most 80" in str(groups.to_save("a" * 81, "m", heads))
    assert groups.to_save(" a ", "m", heads) == GroupRequest(name="a", model="m", off=Off(head=[(0, 1)]))
    assert heads.treatment == OFF


def test_a_queued_trial_says_what_it_waits_for() -> None:
    ahead = Waiting(ahead=2, sentence="waiting: 2 ahead in the queue …")
    assert ahead.sentence in text(trial_view(trial(waiting=ahead, **WAITING), INTACT, lost=False))
    assert "waiting for a worker …" in text(trial_view(trial(waiting=None, **WAITING), INTACT, lost=False))


def test_a_trial_that_goes_on_shows_what_is_settled_and_marks_the_rest() -> None:
    """On its first examples the intact model may be at 75 %; that never stands beside a change of nothing."""
    early = trial(n=24, change=0.0, status=Status.RUNNING, accuracy=0.75, interval=(0.55, 0.88), intact=0.75)
    view = trial_view(early, INTACT, False, "two-sided")
    by_id = {getattr(part, "id", None): part for part in view}
    assert text(by_id["accuracy"]) == "98.0 %"
    assert text(by_id["difference"]) == "0.0 pts so far"
    assert "preliminary" in by_id["difference"].className
    assert "75.0 % without the units, 75.0 % intact, on these" in text(view)
    assert text(by_id["trial-n"]) == "24 of 360 test examples"
    ended = {getattr(part, "id", None): part for part in trial_view(trial(), INTACT, False, "two-sided")}
    assert text(ended["accuracy"]) == "88.0 %"
    assert "preliminary" not in ended["difference"].className
