"""Intervals cover what they should, checked by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from modelshapley.evaluation.intervals import accuracy_interval, mean_interval, paired_difference, proportion_interval


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


# -- shares: how far right each example is ------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 40, 300])
def test_the_interval_of_shares_covers_their_mean(n: int) -> None:
    rng = np.random.default_rng(n)
    rounds, hits = 2000, 0
    for _ in range(rounds):
        low, high = mean_interval(rng.normal(0.5, 0.1, n).clip(0, 1))
        hits += low <= 0.5 <= high
    assert 0.93 < hits / rounds < 0.97


def test_the_interval_of_a_difference_of_shares_covers_it_and_knows_the_pairs() -> None:
    rng = np.random.default_rng(0)
    rounds, hits, reach = 2000, 0, 0.0
    for _ in range(rounds):
        before = rng.uniform(0.2, 0.8, 50)
        now = before - 0.1 + rng.normal(0, 0.02, 50)
        difference, (low, high) = paired_difference(now, before)
        assert low <= difference <= high
        hits += low <= -0.1 <= high
        reach = max(reach, high - low)
    assert 0.93 < hits / rounds < 0.97
    assert reach < 0.03  # unpaired, it would be some 0.14


def test_student_by_hand() -> None:
    low, high = mean_interval(np.array([0.2, 0.4, 0.6]))
    assert low == pytest.approx(max(0, 0.4 - 4.302653 * 0.2 / np.sqrt(3)), abs=1e-6)
    assert high == pytest.approx(0.4 + 4.302653 * 0.2 / np.sqrt(3), abs=1e-6)


def test_one_share_tells_nothing_and_equal_ones_no_doubt() -> None:
    assert mean_interval(np.array([0.3])) == (0.0, 1.0)
    assert paired_difference(np.array([0.3]), np.array([0.1]))[1] == (-1.0, 1.0)
    assert mean_interval(np.full(9, 0.25)) == (0.25, 0.25)


def test_right_and_wrong_has_wilsons_interval() -> None:
    assert mean_interval(np.array([True] * 81 + [False] * 182)) == accuracy_interval(81, 263)
    shares = mean_interval(np.array([1.0] * 81 + [0.0] * 182))
    assert shares == pytest.approx(accuracy_interval(81, 263), abs=0.01)


def test_right_and_wrong_before_and_shares_now_are_compared_as_shares() -> None:
    now, before = np.array([0.5, 1.0, 0.0, 0.5]), np.array([True, True, False, False])
    assert paired_difference(now, before)[0] == 0.0
    assert paired_difference(before, now)[0] == 0.0


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 7), (81, 263), (20, 20)])
def test_a_proportion_has_wilsons_interval_as_scipy_has_it(right: int, n: int) -> None:
    reference = binomtest(right, n).proportion_ci(method="wilson")
    assert proportion_interval(right / n, n) == pytest.approx((reference.low, reference.high))
    assert accuracy_interval(right, n) == proportion_interval(right / n, n)


def test_a_mean_of_shares_is_not_cut_to_whole_examples() -> None:
    low, high = proportion_interval(0.0145, 24)
    assert low > 0
    assert (low + high) / 2 > proportion_interval(0.0, 24)[1] / 2
