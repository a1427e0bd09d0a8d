"""A cancelled job is first interrupted where it waits for a confined process; then its worker is ended by force."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from backend.store.records import Records
from backend.store.schema import migrate
from modelshapley.contracts import Layout, RunRequest, Status
from modelshapley.units import UnitKind
from tests.support.in_process import redis_running
from workers.running import cancelling
from workers.running.attempts import BLAMED, Attempts
from workers.running.cancelling import RUN_GRACE_S, CancelWatch


def test_a_cancelled_job_is_interrupted_then_ended_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    migrate(url)
    records = Records(url)
    run = records.add_run(
        RunRequest(model="demo:digits-vit", task="digits", units=[UnitKind.HEAD]), {UnitKind.HEAD: [4, 4]}, Layout()
    )
    seen: list[str] = []
    clock = [100.0]
    monkeypatch.setattr("workers.running.cancelling.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(cancelling, "interrupt_all", lambda: seen.append("interrupt"))
    watch = CancelWatch(records, end=lambda: seen.append("end"))

    def look(after: float) -> list[str]:
        clock[0] = 100.0 + after
        seen.clear()
        watch.look(f"run-{run.id}")
        return list(seen)

    assert look(0) == [], "it is wanted"
    records.update_run(run.id, status=Status.CANCELLED)
    assert look(10) == [], "it may stop by itself"
    assert look(11) == ["interrupt"]
    assert look(10 + RUN_GRACE_S) == ["interrupt", "end"]
    watch.forget(f"run-{run.id}")
    assert look(20) == [], "another execution has its own time"


def test_deaths_count_only_at_the_same_stage(tmp_path: Path) -> None:
    def begun(redis: Redis) -> Attempts:
        attempts = Attempts(redis)
        attempts.begin("run-x")
        return attempts  # whose worker then dies

    with redis_running(tmp_path) as url, Redis.from_url(url) as redis:
        assert [begun(redis).deaths for _ in range(3)] == [0, 1, 2]
        further = begun(redis)
        assert further.deaths == 3
        further.reached("model loaded")
        again = begun(redis)
        assert again.deaths == 1, "the earlier deaths were at another stage"
        again.reached("model loaded")
        assert begun(redis).deaths == 2, "a stage is new once"
        again.forget("run-x")
        assert begun(redis).deaths == 0


def test_more_deaths_are_forgiven_while_workers_die_at_other_jobs(tmp_path: Path) -> None:
    def begun(redis: Redis, job_id: str) -> Attempts:
        attempts = Attempts(redis)
        attempts.begin(job_id)
        return attempts  # whose worker then dies

    with redis_running(tmp_path) as url, Redis.from_url(url) as redis:
        assert [begun(redis, "run-x").deadly for _ in range(4)] == [False, False, False, True]
        for _ in range(2):
            begun(redis, "trial-y")
        assert not begun(redis, "run-x").deadly, "a worker died at a trial, too"
        assert [begun(redis, "run-x").deadly for _ in range(5)] == [False, False, False, False, True]
        redis.zadd(BLAMED, {"trial-y": 1.0})
        assert not begun(redis, "check-z").deadly
        assert begun(redis, "run-x").deadly, "that was long ago"
