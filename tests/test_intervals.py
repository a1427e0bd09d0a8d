"""Intervals cover what they should, checked by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from modelshapley.intervals import accuracy_interval, paired_difference


def test_wilson_against_a_published_value() -> None:
    low, high = accuracy_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)  # Newcombe 1998, table I, method 3


def test_wilson_at_the_ends_is_not_empty() -> None:
    assert accuracy_interval(0, 20)[1] > 0.1
    assert accuracy_interval(20, 20)[0] < 0.9


@pytest.mark.parametrize(("gain", "loss"), [(0.05, 0.05), (0.02, 0.2), (0.0, 0.1)])
def test_paired_interval_covers_the_true_difference(gain: float, loss: float) -> None:
    rng = np.random.default_rng(0)
    n, rounds, hits = 97, 2000, 0
    for _ in range(rounds):
        u = rng.random(n)
        before = np.where(u < gain, False, np.where(u < gain + loss, True, rng.random(n) < 0.8))
        now = np.where(u < gain, True, np.where(u < gain + loss, False, before))
        _, (low, high) = paired_difference(now, before)
        hits += low <= gain - loss <= high
    assert hits / rounds > 0.92


def test_equal_answers_leave_some_doubt_that_shrinks() -> None:
    reach = []
    for n in (10, 100, 1000):
        same = np.ones(n, dtype=bool)
        difference, (low, high) = paired_difference(same, same)
        assert difference == 0
        assert low == -high
        reach.append(high)
    assert reach[0] > reach[1] > reach[2] > 0
    assert reach[1] < 0.03


def test_the_sign_is_now_minus_before() -> None:
    now, before = np.array([True, True, False, True]), np.array([False, True, False, False])
    assert paired_difference(now, before)[0] == 0.5
