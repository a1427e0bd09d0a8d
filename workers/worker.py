"""A warm RQ worker: jobs run in its own process, so that models stay loaded between them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rq import SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue

from backend.queues import HEARTBEAT_S, LOST_AFTER_S, REDIS_DOWN

log = logging.getLogger(__name__)


class WarmWorker(SimpleWorker):
    """SimpleWorker with a pulse.

    RQ's own takes a killed worker's job for alive until the job's time limit; here a thread beats every
    HEARTBEAT_S while a job runs, and a job silent for LOST_AFTER_S is given to another worker.
    """

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return LOST_AFTER_S

    def execute_job(self, job: Job, queue: Queue) -> None:
        execution = self.prepare_execution(job)
        with self._pulse(job, execution):
            self.perform_job(job, queue, execution)
        self.set_state("idle")

    @contextmanager
    def _pulse(self, job: Job, execution: Execution) -> Iterator[None]:
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_S):
                try:
                    self.maintain_heartbeats(job, execution)
                except REDIS_DOWN as error:
                    log.warning("no heartbeat, Redis does not answer: %s", error)

        thread = threading.Thread(target=beat, name="pulse", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Jobs record their own failures; what still comes through is logged here."""
        log.error("job %s ended in an error", job.id, exc_info=exc_info)
