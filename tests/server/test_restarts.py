"""The supervisor starts a process again whenever it dies, later and later while it keeps dying, and never gives up."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelshapley.errors import ModelShapleyError
from modelshapley.server.redis_server import RedisServer
from modelshapley.server.supervisor import MAX_PAUSE_S, Child, Supervisor


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def deadly(clock: Clock) -> tuple[Child, list[float]]:
    """A child that is dead whenever it is looked at, and the times at which it was started."""
    started: list[float] = []

    def start() -> Any:
        started.append(clock.now)
        return SimpleNamespace(poll=lambda: -9, returncode=-9)

    return Child("worker", start, clock=clock), started


def test_a_process_that_keeps_dying_is_started_less_and_less_often_but_for_ever() -> None:
    clock = Clock()
    child, started = deadly(clock)
    while clock.now < 3600:
        child.revive()
        clock.now += 0.2
    pauses = [later - earlier for earlier, later in itertools.pairwise(started)]
    assert pauses[0] < 1
    assert max(pauses) <= MAX_PAUSE_S + 1
    assert 60 < len(started) < 300
    assert started[-1] > 3500


def test_deaths_long_ago_do_not_count() -> None:
    clock = Clock()
    child, started = deadly(clock)
    for _ in range(30):
        clock.now += 1000
        child.revive()
        assert started[-1] == clock.now, "started again at once"


def test_a_process_that_cannot_be_started_is_tried_again() -> None:
    clock = Clock()
    child, started = deadly(clock)
    begin = child.start

    def no_memory() -> Any:
        raise OSError("no memory")

    child.start = no_memory
    child.revive()
    child.start = begin
    clock.now += 60
    child.revive()
    clock.now += 60
    child.revive()
    assert len(started) > 1


def test_a_redis_that_cannot_read_its_file_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelshapley.server.supervisor.signal.signal", lambda *_: None)  # this process keeps its own
    server = RedisServer.plan(tmp_path)
    (server.data / "appendonlydir").mkdir(parents=True)
    (server.data / "appendonlydir" / "appendonly.aof.manifest").write_text("file nonsense seq x type z\n")
    supervisor = Supervisor(tmp_path, "127.0.0.1", 0, 0, os.environ)
    started = time.monotonic()
    with pytest.raises(ModelShapleyError, match=r"Redis \(.*\) does not start: .+move this folder away"):
        supervisor.run()
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(("chosen", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_leave_their_core_unless_told_otherwise(
    chosen: dict[str, str], expected: str, tmp_path: Path
) -> None:
    assert Supervisor(tmp_path, "127.0.0.1", 0, 0, chosen).environment["OMP_WAIT_POLICY"] == expected
