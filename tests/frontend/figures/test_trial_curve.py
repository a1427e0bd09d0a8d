"""The tray's curve: points are trials of a share of the ranking, lines are the run's check."""

from __future__ import annotations

from datetime import UTC, datetime

import plotly.graph_objects as go
import pytest

from frontend.figures import trial_curve
from modelshapley.contracts import CurvePoint, Measured, Off, Status, Trial

INTACT = Measured(accuracy=0.98, interval=(0.96, 0.99), n=360)
RANKED = {"which": "least", "fraction": 0.2, "unit": "head", "method": "two-sided"}


def a_trial(accuracy: float, n: int = 360) -> Trial:
    return Trial(
        id="t",
        run="r",
        status=Status.DONE,
        off=Off(head=[(0, 0)]),
        counts={},
        n=n,
        total=360,
        accuracy=accuracy,
        interval=(accuracy - 0.05, accuracy + 0.02),
        created=datetime.now(UTC),
    )


def test_a_share_that_is_measured_again_replaces_its_point_and_others_stay() -> None:
    points = trial_curve.remembered([], RANKED, a_trial(0.9, 60))
    points = trial_curve.remembered(points, RANKED | {"fraction": 0.4}, a_trial(0.7))
    points = trial_curve.remembered(points, RANKED | {"which": "most"}, a_trial(0.3))
    points = trial_curve.remembered(points, RANKED, a_trial(0.95))
    found = trial_curve.points_of(points, "r", "two-sided", "head", "least")
    assert [(p["fraction"], p["accuracy"], p["n"]) for p in found] == [(0.2, 0.95, 360), (0.4, 0.7, 360)]
    assert len(trial_curve.points_of(points, "r", "two-sided", "head", "most")) == 1
    assert trial_curve.points_of(points, "r", "mean-abs", "head", "least") == []
    assert trial_curve.points_of(points, "another", "two-sided", "head", "least") == []


def test_the_share_that_is_off_now_stands_out_and_intervals_are_drawn() -> None:
    points = trial_curve.remembered([], RANKED, a_trial(0.9))
    points = trial_curve.remembered(points, RANKED | {"fraction": 0.4}, a_trial(0.7))
    checked = [CurvePoint(fraction=f, units=1, **comparison(a)) for f, a in ((0.0, 0.98), (0.5, 0.6))]
    drawn = trial_curve.figure(trial_curve.points_of(points, "r", "two-sided", "head", "least"), checked, INTACT, 0.4)
    go.Figure(drawn)
    line, others, here = drawn["data"]
    assert (line["x"], line["y"]) == ([0, 50], [98, 60])
    assert (others["x"], here["x"]) == ([20], [40])
    assert others["y"][0] + others["error_y"]["array"][0] == pytest.approx(92)
    assert others["y"][0] - others["error_y"]["arrayminus"][0] == pytest.approx(85)
    assert drawn["layout"]["shapes"][0]["y0"] == 98


def comparison(accuracy: float) -> dict[str, object]:
    span = (accuracy - 0.1, accuracy)
    return {
        "n": 48,
        "accuracy": accuracy,
        "interval": span,
        "intact": 0.98,
        "intact_interval": (0.9, 1.0),
        "difference": accuracy - 0.98,
        "difference_interval": span,
    }


def test_an_empty_curve_says_how_it_fills() -> None:
    assert "move the slider" in trial_curve.sentence([], [])
    assert "your trials (1)" in trial_curve.sentence(trial_curve.remembered([], RANKED, a_trial(0.9)), [])
