"""A warm RQ worker: jobs run in its own process, so that models stay loaded between jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from redis.client import Pipeline
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.worker import WorkerStatus
from sqlalchemy.exc import SQLAlchemyError

from backend.queue.connections import REDIS_DOWN
from backend.queue.metrics import WAITED
from backend.queue.names import CHECKS, RUNS, TRIALS, kind_of_queue, trials_of
from backend.queue.queues import SERIALIZER, Queues, seconds_waited
from modelshapley.contracts import Warm
from modelshapley.server.logs import REQUEST, log_fields
from workers.running.attempts import Attempts
from workers.running.cancelling import CANCEL_POLL_S, CancelWatch
from workers.running.failures import TOO_MANY_DEATHS
from workers.running.stopping import exit_if_redis_stays_away

log = logging.getLogger(__name__)


class WarmWorker(SimpleWorker):
    """SimpleWorker with heartbeats, that prefers trials of the models it holds and serves trials during longer jobs.

    RQ's SimpleWorker considers the job of a killed worker alive until the job's time limit; here a thread sends a
    heartbeat four times in `queues.lost_after_s` while a job runs, and a job without one for so long goes to another
    worker. warm: describes what the worker keeps. pending_jobs: returns all jobs that the records wait for, with
    functions that queue them. cancels: ends the process if a cancelled job does not stop.
    """

    def __init__(
        self,
        queues: Queues,
        name: str,
        warm: Callable[[], Warm],
        pending_jobs: Callable[[], Mapping[str, Callable[[], None]]],
        cancels: CancelWatch,
    ) -> None:
        self._job_queues, self._warm, self._pending_jobs = queues, warm, pending_jobs
        self._attempts, self._cancels = Attempts(queues.redis), cancels
        self._lost: set[str] = set()
        self._published = warm()
        super().__init__(
            [TRIALS, RUNS, CHECKS],
            name=name,
            connection=queues.redis,
            serializer=SERIALIZER,
            worker_ttl=queues.lost_after_s,
            maintenance_interval=5,
            log_job_description=False,
        )
        self._listen()

    # -- trials ------------------------------------------------------------------------------------

    def trials_wait(self) -> bool:
        return self._job_queues.waiting(self._trials())

    def serve_trial(self) -> bool:
        """Run one waiting trial inside the current job; return False if there is none."""
        dequeued = self.queue_class.dequeue_any(
            [self._queue(name) for name in self._trials()],
            None,
            connection=self.connection,
            job_class=self.job_class,
            serializer=self.serializer,
        )
        if dequeued is None:
            return False
        self._run_job(*dequeued)
        self.set_state(WorkerStatus.BUSY)
        return True

    def _trials(self) -> list[str]:
        """Return the trial queues of this worker: those of its models, least recently used first, then the common
        one.
        """
        return [*dict.fromkeys(trials_of(model.model) for model in self._published.models), TRIALS]

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
        self._run_job(job, queue)
        self.set_state(WorkerStatus.IDLE)

    def _run_job(self, job: Job, queue: Queue) -> None:
        self._job_queues.metrics.observe(WAITED, [seconds_waited(job)], kind_of_queue(queue.name))
        execution = self.prepare_execution(job)
        self._attempts.begin(job.id)
        deaths = TOO_MANY_DEATHS.set(self._attempts.deaths if self._attempts.deadly else 0)
        try:
            with log_fields(**_fields_of(job)), self._pulse(job, execution):
                self.perform_job(job, queue, execution)
            self._attempts.forget(job.id)
        finally:
            TOO_MANY_DEATHS.reset(deaths)
            self._cancels.forget(job.id)
            self._attempts.end()
        self.publish_state()

    def progressed(self) -> None:
        """Note that the current job got further than ever before, so that earlier deaths do not count against it."""
        self._attempts.progressed()

    def reached(self, stage: str) -> None:
        """Note that the current job has reached a stage: deaths before it do not count against it."""
        self._attempts.reached(stage)

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Stop after the current job; if the process is killed before, the job is not to blame."""
        exit_if_redis_stays_away(self.connection)
        with suppress(*REDIS_DOWN):
            self._attempts.forgive()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def publish_state(self) -> None:
        """Publish again what this worker keeps; call it from the thread of the jobs only."""
        before, self._published = self._published, self._warm()
        dropped = {model.model for model in before.models} - {model.model for model in self._published.models}
        self._job_queues.publish_warm(self.name, self._published, dropped)

    def run_maintenance_tasks(self) -> None:
        """Run RQ's maintenance for all queues, since nobody may listen to the queue of a lost worker's model."""
        self.queues = Queue.all(connection=self.connection, serializer=self.serializer)
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._job_queues.rescue_trials()
        self._job_queues.note_lost_workers()
        self._requeue_lost()
        self._listen()

    def _requeue_lost(self) -> None:
        """Queue jobs again that are lost in two consecutive checks: in one, they may be on their way to a worker."""
        work = self._pending_jobs()
        lost = self._job_queues.lost(list(work))
        for job_id in lost & self._lost:
            log.warning("job %s was lost; queueing it again", job_id)
            self._job_queues.requeue(job_id, work[job_id])
        self._lost = lost - self._lost

    def register_death(self) -> None:
        self._job_queues.forget_worker(self.name)
        super().register_death()  # type: ignore[no-untyped-call]

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return self._job_queues.lost_after_s

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        if not self.connection.hexists(self.key, "birth"):
            self._register_again()
        super().heartbeat(timeout, pipeline)
        self._job_queues.publish_warm(self.name, self._published)

    def _register_again(self) -> None:
        """Register this worker again: it was stopped for so long that RQ has forgotten it."""
        state = self._state
        self.connection.delete(self.key)
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state(state)

    @contextmanager
    def _pulse(self, job: Job, execution: Execution) -> Iterator[None]:
        stop = threading.Event()

        every_s = self._job_queues.lost_after_s / 4

        def beat() -> None:
            next_beat = time.monotonic() + every_s
            while not stop.wait(CANCEL_POLL_S):
                try:
                    if self._attempts.running[-1:] == [job.id]:
                        self._cancels.look(job.id)
                    if time.monotonic() >= next_beat:
                        next_beat = time.monotonic() + every_s
                        self.maintain_heartbeats(job, execution)
                        self._job_queues.rescue_trials()  # maintenance waits for the end of the job
                except REDIS_DOWN as error:
                    log.warning("no heartbeat, Redis does not respond: %s", error)
                except SQLAlchemyError as error:
                    log.warning("cannot see whether job %s is still wanted: %s", job.id, error)

        thread = threading.Thread(target=beat, name="pulse", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log errors that a job did not record itself."""
        log.error("job %s ended in an error", job.id, exc_info=exc_info)


def _fields_of(job: Job) -> dict[str, str]:
    """Return what the logs of a job name: `run`, `trial` or `check` with its id, and the request that queued it."""
    kind, identifier = job.id.split("-")[:2]
    request = job.meta.get(REQUEST)
    return {kind: identifier} | ({REQUEST: str(request)} if request else {})
