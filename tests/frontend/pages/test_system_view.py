"""What the System page says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from frontend.pages.system import system_view
from modelshapley.contracts import Failure, QueueInfo, Warm, WarmModel, WorkerInfo

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
WORKER = WorkerInfo(
    name="box-17",
    state="busy",
    queues=["runs"],
    current="run:abc:2",
    pid=17,
    host="box",
    last_heartbeat=NOW - timedelta(seconds=4),
    warm=Warm(
        models=[WarmModel(model="demo:vit", device="cpu", dtype="float32", bytes=3 * 2**20, in_use=True)],
        model_budget=12 * 2**20,
        probe_budget=0,
        device="cpu",
        dtype="float32",
        memory=24 * 2**20,
    ),
)


def text(component: Any) -> str:
    """All the words of a component, in order."""
    if component is None or isinstance(component, str | int | float):
        return "" if component is None else str(component)
    if isinstance(component, list | tuple):
        return " ".join(filter(None, map(text, component)))
    return text(getattr(component, "children", None))


def test_a_worker_tells_what_it_has_in_hand_and_what_it_keeps() -> None:
    told = text(system_view.workers([WORKER], {}, NOW))
    for words in (
        "box-17",
        "busy",
        "scoring shard 2 of  run abc",
        "heartbeat 4 s ago",
        "cpu, float32",
        "3.0 MiB of 12 MiB (25 %); the device has 24 MiB",
        "vit (3.0 MiB, float32, in use)",
        "disabled",
    ):
        assert words in told


def test_each_warm_model_says_what_was_verified_at_loading() -> None:
    assert "Verified at loading vit: all checks passed" in text(system_view.workers([WORKER], {}, NOW))
    assert WORKER.warm is not None
    noted = WORKER.warm.models[0].model_copy(update={"model": "local:toy", "notes": ["Not used: x (y).", "Also z."]})
    warm = WORKER.warm.model_copy(update={"models": [*WORKER.warm.models, noted]})
    shown = text(system_view.workers([WORKER.model_copy(update={"warm": warm})], {}, NOW))
    assert "vit: all checks passed" in shown
    assert "toy: Not used: x (y). Also z." in shown
    empty = WORKER.warm.model_copy(update={"models": []})
    assert "Verified" not in text(system_view.workers([WORKER.model_copy(update={"warm": empty})], {}, NOW))


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (None, "no job"),
        ("run:abc", "scoring  run abc"),
        ("check:abc", "checking maps of  run abc"),
        ("trial:t1", "measuring a trial on  run xyz"),
        ("trial:t2", "measuring a trial on  a run"),
        ("task:q", "previewing a task"),
    ],
)
def test_the_activity_of_a_worker(current: str | None, words: str) -> None:
    assert text(system_view.activity(current, {"t1": "xyz"})) == words


def test_what_is_away_is_said() -> None:
    assert "Redis ✗ not connected" in text(system_view.health(None, True, None))
    assert "Database ✗ not connected" in text(system_view.health([], False, []))
    assert "Workers ✗ none running" in text(system_view.health([], True, []))
    well = text(system_view.health([QueueInfo(name="runs", waiting=1234)], True, [WORKER]))
    assert "Workers ✓ 1 running, 1 busy" in well
    assert "Runs waiting 1,234" in well
    assert "modelshapley worker" in text(system_view.workers([], {}))


def test_failures_name_what_and_why() -> None:
    failure = Failure(
        kind="check", id="a", run="a", model="demo:vit", task="digits", error="no room", at=NOW - timedelta(days=9)
    )
    told = text(system_view.failures([failure]))
    assert "Check of vit on digits" in told
    assert "no room" in told
    assert text(system_view.failures([])) == "No failures."
