"""Roles of units: helps, hurts or neither, by the interval of help minus harm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from modelshapley.maps.importance import Sides, weigh
from modelshapley.maps.roles import role, roles


def test_roles_are_those_of_a_t_test_on_the_examples() -> None:
    """200 units of which a third help, a third hurt and a third do neither, on 40 examples."""
    rng = np.random.default_rng(0)
    phi = rng.normal(np.repeat([0.5, -0.5, 0.0, 0.0], 50), 1.0, (40, 200))
    up, down = np.maximum(phi, 0), np.maximum(-phi, 0)
    sides = Sides(40, up.mean(0), down.mean(0), (up**2).mean(0), (down**2).mean(0))
    test = ttest_1samp(phi, 0.0)
    expected = np.where(test.pvalue < 0.05, np.sign(phi.mean(0)), 0)
    assert np.array_equal(roles(sides), expected)
    assert set(expected) == {-1, 0, 1}
    net, errors = weigh(sides, None)
    names = {1: "helps", -1: "hurts", 0: "neither"}
    assert [role(n, e, 40) for n, e in zip(net, errors, strict=True)] == [names[int(sign)] for sign in expected]


@pytest.mark.parametrize(("net", "error"), [(5.0, np.inf), (np.nan, np.nan), (5.0, 0.1)])
def test_a_single_example_gives_no_role(net: float, error: float) -> None:
    assert role(net, error, 1) == "neither"
