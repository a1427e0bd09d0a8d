"""Numbers and moments in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelshapley import formatting
from modelshapley.contracts import Progress, Run, Status
from modelshapley.units import Treatment, UnitKind

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUS = "\u2212"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0012345, "0.00123"),
        (0.1, "0.100"),
        (12.345, "12.3"),
        (-0.5, f"{MINUS}0.500"),
        (123456.0, "123456"),
        (4.2e-9, "4.2e-09"),
        (0.0, "0"),
        (None, "unknown"),
        (float("nan"), "unknown"),
    ],
)
def test_scores_have_three_significant_digits(value: float | None, text: str) -> None:
    assert formatting.score(value) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [(-0.023, f"{MINUS}2.3 pts"), (0.014, "+1.4 pts"), (0.0, "0.0 pts"), (-0.0004, "0.0 pts")],
)
def test_points_carry_their_sign(difference: float, text: str) -> None:
    assert formatting.points(difference) == text


def test_intervals_carry_their_unit_once() -> None:
    assert formatting.percent_interval((0.73, 0.88)) == "73.0 to 88.0 %"
    assert formatting.points_interval((-0.061, 0.014)) == f"{MINUS}6.1 to +1.4 pts"


@pytest.mark.parametrize(("seconds", "text"), [(0, "1 s"), (4.4, "4 s"), (89, "89 s"), (180, "3 min"), (7200, "2 h")])
def test_durations(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=4), "4 min ago"),
        (timedelta(hours=20), "20 h ago"),
        (timedelta(days=3), "20 Nov 2026"),
    ],
)
def test_moments(passed: timedelta, text: str) -> None:
    assert formatting.ago(NOW - passed, NOW) == text


def test_counts_agree_with_their_noun() -> None:
    assert formatting.counted(UnitKind.HEAD, 1) == "1 head"
    assert formatting.counted(UnitKind.NEURON, 18432) == "18,432 neurons"


def run(status: Status, done: int, total: int, eta_s: float | None = None) -> Run:
    return Run(
        id="a",
        model="demo:digits-vit",
        task="digits",
        methods=["two-sided"],
        units=[UnitKind.HEAD],
        limit=256,
        seed=0,
        status=status,
        progress=Progress(done=done, total=total, eta_s=eta_s),
        created=NOW,
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (run(Status.QUEUED, 0, 0), "waiting for a worker"),
        (run(Status.RUNNING, 0, 0), "loading the model"),
        (run(Status.RUNNING, 96, 288, 4.0), "96 of 288 examples, 4 s left"),
        (run(Status.RUNNING, 288, 288, 0.0), "288 of 288 examples, measuring the intact accuracy"),
    ],
)
def test_what_a_run_is_doing(given: Run, text: str) -> None:
    assert formatting.progress(given) == text


def test_units_and_what_is_done_to_them() -> None:
    counts = {UnitKind.HEAD: 12, UnitKind.LAYER: 1, UnitKind.NEURON: 0}
    assert formatting.units(counts) == "12 heads · 1 layer"
    assert formatting.units(counts, Treatment("scale", 0.5)) == "12 heads · 1 layer, times 0.5"
    assert formatting.treated(Treatment("offset", -2.0)) == "minus 2 standard deviations"
