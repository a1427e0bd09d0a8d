"""A check of a run's maps that is asked for after an earlier one has ended."""

from __future__ import annotations

import time

from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from backend.queue.queues import SERIALIZER, Queues, job_named

PATIENCE_S = 3.0
QUEUE_POLL_S = 0.02


def enqueue_later_check(queues: Queues, run_id: str) -> None:
    """Queue the check of a run whose record asks for it.

    The job before tells the record that it is done a moment before the queue knows it; queued in that moment, the
    new one, which has the same name, would be taken for the old one and lost. Where it does not end, its worker is
    gone, and the job itself is run again, for the record as it is now. Errors: REDIS_DOWN.
    """
    until = time.monotonic() + PATIENCE_S
    while _running(queues, run_id) and time.monotonic() < until:
        time.sleep(QUEUE_POLL_S)
    queues.enqueue_check(run_id)


def _running(queues: Queues, run_id: str) -> bool:
    try:
        job = Job.fetch(job_named("check", run_id), queues.redis, SERIALIZER)
    except NoSuchJobError:
        return False
    return job.get_status(refresh=False) is JobStatus.STARTED
