"""Checks of a run's maps that are requested after an earlier one has ended."""

from __future__ import annotations

import time

from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from backend.queue.names import job_named
from backend.queue.queues import SERIALIZER, Queues

PREVIOUS_CHECK_TIMEOUT_S = 3.0
QUEUE_POLL_S = 0.02


def enqueue_later_check(queues: Queues, run_id: str, owner: str | None = None) -> None:
    """Queue the check of a run whose record requests it.

    The previous job marks the record as done a moment before the queue knows it; if it were queued in that moment, the
    new job, which has the same name, would be mistaken for the old one and lost. If the previous job does not end, its
    worker is gone, and the same job runs again with the current record. Errors: REDIS_DOWN.
    """
    deadline = time.monotonic() + PREVIOUS_CHECK_TIMEOUT_S
    while _running(queues, run_id) and time.monotonic() < deadline:
        time.sleep(QUEUE_POLL_S)
    queues.enqueue_check(run_id, owner)


def _running(queues: Queues, run_id: str) -> bool:
    try:
        job = Job.fetch(job_named("check", run_id), queues.redis, SERIALIZER)
    except NoSuchJobError:
        return False
    return job.get_status(refresh=False) is JobStatus.STARTED
