"""A check that is asked for while the one before is about to end is not lost. With a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.job import Job, JobStatus

from backend.queue.connections import connect
from backend.queue.later_checks import enqueue_later_check
from backend.queue.names import CHECKS
from backend.queue.queues import SERIALIZER, Queues
from modelshapley.server.redis_server import RedisServer

RUN = "0123456789ab"


@pytest.fixture
def queues(tmp_path: Path) -> Iterator[Queues]:
    plan = RedisServer.plan(tmp_path)
    process = plan.start()
    found = Queues(connect(plan.url))
    for _ in range(100):
        try:
            found.ping()
            break
        except RedisConnectionError:
            time.sleep(0.05)
    yield found
    found.redis.close()
    process.terminate()
    process.wait(timeout=10)


def started(queues: Queues) -> Job:
    """The job of a first check, taken out of the queue as a worker does."""
    queues.enqueue_check(RUN)
    queues.redis.lpop(f"rq:queue:{CHECKS}")
    job = Job.fetch(f"check-{RUN}", queues.redis, SERIALIZER)
    job.set_status(JobStatus.STARTED)
    return job


def test_it_waits_until_the_job_before_is_over(queues: Queues) -> None:
    job = started(queues)
    threading.Timer(0.3, lambda: job.set_status(JobStatus.FINISHED)).start()
    enqueue_later_check(queues, RUN)
    assert queues.waiting([CHECKS])


def test_it_does_not_wait_where_there_was_none(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.queue.later_checks.PREVIOUS_CHECK_TIMEOUT_S", 600.0)
    begun = time.monotonic()
    enqueue_later_check(queues, RUN)
    assert queues.waiting([CHECKS])
    assert time.monotonic() - begun < 60


def test_a_job_whose_worker_was_lost_is_left_to_be_run_again(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.queue.later_checks.PREVIOUS_CHECK_TIMEOUT_S", 0.2)
    started(queues)
    enqueue_later_check(queues, RUN)
    assert not queues.waiting([CHECKS])
