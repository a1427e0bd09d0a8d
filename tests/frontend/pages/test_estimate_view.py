"""What a run will take, in words."""

from __future__ import annotations

from typing import Any

import pytest

from frontend.pages.submit import estimate_view
from modelshapley.contracts import Estimate, Memory, Pace
from tests.frontend.pages.test_system_view import text

MEMORY = Memory(weights=500 * 2**20, activations=2 * 2**30, there=24 * 2**30, dtype="float32")


def estimate(**more: Any) -> Estimate:
    given = {"examples": 256, "exact": True, "passes": 1, "forwards": 0, "memory": MEMORY, "workers": 1}
    return Estimate.model_validate(given | more)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "1 backward pass over each of 256 examples."),
        ({"exact": False}, "1 backward pass over each of at most 256 examples."),
        ({"passes": 24}, "At most 24 backward passes over each of 256 examples."),
        ({"passes": 0, "forwards": 96}, "96 forward passes over each of 256 examples."),
        ({"passes": 0}, "No passes. These methods use no examples."),
    ],
)
def test_the_work(given: dict[str, Any], words: str) -> None:
    assert estimate_view.work(estimate(**given)) == words


def test_the_time_tells_its_range_and_what_it_is_told_by() -> None:
    def told(pace: Pace | None, **more: Any) -> str:
        return estimate_view.time(pace, estimate(**more))

    pace = Pace(seconds=12.2, between=(9, 20), runs=5, of="model and task")
    assert told(pace) == ("About 12 s (9 s to 20 s) on one worker, based on 5 earlier runs.")
    one = Pace(seconds=300, between=(300, 300), runs=1, of="model")
    assert told(one).startswith("About 5 min on one worker, based on 1 earlier run of this model on other tasks")
    assert told(None) == "Unknown. There are no earlier runs of this model."
    assert "Unknown" not in told(None, passes=0)


def test_the_memory() -> None:
    assert estimate_view.memory(MEMORY) == (
        "500 MiB of weights (float32), and up to about 2.0 GiB for a batch. The device has 24 GiB."
    )
    tight = MEMORY.model_copy(update={"there": 2**30})
    assert estimate_view.memory(tight).endswith("The device has 1.0 GiB. Batches are halved until they fit.")
    unknown = MEMORY.model_copy(update={"weights": None, "there": None})
    assert "Weights of unknown size" in estimate_view.memory(unknown)


def test_problems_come_first() -> None:
    told = text(estimate_view.view(estimate(problems=["No worker is listening."])))
    assert told.startswith("No worker is listening. Work")
