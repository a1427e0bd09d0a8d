"""The form that makes a smaller model: what it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from frontend.pages.apply.smaller import mixed
from modelshapley.errors import ModelShapleyError


@pytest.mark.parametrize("empty", ["", None])
def test_without_a_time_the_share_counts(empty: Any) -> None:
    request = mixed("run", 20, empty, "small", "means")
    assert (request.share, request.milliseconds, request.repair) == (0.2, None, "means")


def test_with_a_time_the_share_does_not_count() -> None:
    request = mixed("run", 20, 12.5, "small", False)
    assert (request.share, request.milliseconds) == (None, 12.5)


@pytest.mark.parametrize("time", [0, -3, 1e9, "soon", float("nan")])
def test_a_time_that_is_none_is_refused_with_its_value(time: Any) -> None:
    with pytest.raises(ModelShapleyError, match=rf"not {time}; leave the time empty"):
        mixed("run", 20, time, "small", False)
