"""A warm RQ worker: jobs run in its own process, so that models stay loaded between them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis.client import Pipeline
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.worker import WorkerStatus

from backend.queue.queues import (
    CHECKS,
    HEARTBEAT_S,
    LOST_AFTER_S,
    REDIS_DOWN,
    RUNS,
    SERIALIZER,
    TRIALS,
    Queues,
    trials_of,
)
from modelshapley.contracts import Warm

log = logging.getLogger(__name__)


class WarmWorker(SimpleWorker):
    """SimpleWorker with a pulse, with trials of the models that it holds, and with trials inside longer jobs.

    RQ's own takes a killed worker's job for alive until the job's time limit; here a thread beats every
    HEARTBEAT_S while a job runs, and a job silent for LOST_AFTER_S is given to another worker. warm: tells what
    the worker keeps; pending_jobs: all jobs that the records wait for, with what queues each.
    """

    def __init__(
        self,
        queues: Queues,
        name: str,
        warm: Callable[[], Warm],
        pending_jobs: Callable[[], Mapping[str, Callable[[], None]]],
    ) -> None:
        self._served, self._warm, self._open_work = queues, warm, pending_jobs
        self._lost: set[str] = set()
        self._told = warm()
        super().__init__(
            [TRIALS, RUNS, CHECKS],
            name=name,
            connection=queues.redis,
            serializer=SERIALIZER,
            worker_ttl=LOST_AFTER_S,
            maintenance_interval=5,
            log_job_description=False,
        )
        self._listen()

    # -- trials ------------------------------------------------------------------------------------

    def trials_wait(self) -> bool:
        return self._served.waiting(self._trials())

    def serve_trial(self) -> bool:
        """Do one trial that waits, inside the job in hand; False where there is none."""
        found = self.queue_class.dequeue_any(
            [self._queue(name) for name in self._trials()],
            None,
            connection=self.connection,
            job_class=self.job_class,
            serializer=self.serializer,
        )
        if found is None:
            return False
        self._do(*found)
        self.set_state(WorkerStatus.BUSY)
        return True

    def _trials(self) -> list[str]:
        """Queues of trials that this worker serves: of its models first, those used last at the end, then any."""
        return [*dict.fromkeys(trials_of(kept.model) for kept in self._told.models), TRIALS]

    def _listen(self) -> None:
        self.queues = [self._queue(name) for name in (*self._trials(), RUNS, CHECKS)]
        self._ordered_queues = self.queues[:]

    def _queue(self, name: str) -> Queue:
        return self.queue_class(name, connection=self.connection, serializer=self.serializer)

    # -- jobs --------------------------------------------------------------------------------------

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        self._listen()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def execute_job(self, job: Job, queue: Queue) -> None:
        self._do(job, queue)
        self.set_state(WorkerStatus.IDLE)

    def _do(self, job: Job, queue: Queue) -> None:
        execution = self.prepare_execution(job)
        with self._pulse(job, execution):
            self.perform_job(job, queue, execution)
        self.publish_state()

    def publish_state(self) -> None:
        """Tell the world anew what this worker keeps; from the thread of the jobs only."""
        before, self._told = self._told, self._warm()
        dropped = {kept.model for kept in before.models} - {kept.model for kept in self._told.models}
        self._served.publish_warm(self.name, self._told, dropped)

    def run_maintenance_tasks(self) -> None:
        """RQ's own for all queues there are, since nobody may listen to that of a lost worker's model any more."""
        self.queues = Queue.all(connection=self.connection, serializer=self.serializer)
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._served.rescue_trials()
        self._find_lost()
        self._listen()

    def _find_lost(self) -> None:
        """What is lost at two looks in a row is queued again: at one it may be on its way to a worker or queue."""
        work = self._open_work()
        lost = self._served.lost(list(work))
        for job_id in lost & self._lost:
            log.warning("job %s was lost on its way; it is queued again", job_id)
            self._served.requeue(job_id, work[job_id])
        self._lost = lost - self._lost

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return LOST_AFTER_S

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        super().heartbeat(timeout, pipeline)
        self._served.publish_warm(self.name, self._told)

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
