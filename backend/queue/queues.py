"""Redis: queues of ids for workers, the state of warm workers, and an event stream for each run and trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel
from redis import Redis
from rq import Queue, Retry, Worker
from rq.job import Dependency, Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import as_text
from rq.worker import BaseWorker

from backend.queue.event_streams import Kind, StreamEvent, append_event
from backend.queue.fair_turns import OWNER, take_turn
from backend.queue.metrics import WORKERS_LOST, Metrics
from backend.queue.names import (
    CHECKS,
    MODEL_QUEUE_PREFIX,
    RUNS,
    TRIALS,
    job_label,
    job_named,
    kind_of_queue,
    model_key,
    trials_of,
)
from modelshapley.contracts import Warm, WorkerInfo
from modelshapley.server.logs import FIELDS, REQUEST

WARM = "modelshapley:warm"
HEARD = "modelshapley:heard"  # when each worker was heard last, also after RQ has forgotten it
COUNTED_LOST = "modelshapley:heard:lost"  # workers of HEARD that the metrics count as lost
REMEMBERED_S = 3600
SERIALIZER = JSONSerializer
# A job that loses its worker is always queued again; workers themselves give up one that keeps killing them
# (workers/running/attempts.py), and record why, which RQ could not.
ABANDONED_RETRY = Retry(max=1_000_000)
WAITING = (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.READY_TO_ENQUEUE)
LOST_AFTER_S = 20


class Queues:
    """Queues of work for workers, and streams of events about it. Errors: connections.REDIS_DOWN.

    lost_after_s: time without a heartbeat after which a worker counts as lost; the same in all processes.
    """

    def __init__(self, redis: Redis, lost_after_s: int = LOST_AFTER_S) -> None:
        self.redis, self.lost_after_s = redis, lost_after_s
        self.metrics = Metrics(redis)

    def ping(self) -> None:
        self.redis.ping()

    def enqueue_run(self, run_id: str, shards: Sequence[int] = (), owner: str | None = None) -> None:
        """Queue a run by its id alone; this changes nothing if it is queued already.

        shards: numbers of the unfinished shards of a run with several. Each is a separate job, and the run's job, which
        merges them, waits until all have ended, successfully or not. owner: the key whose turn this takes (fair_turns).
        """
        parts = [job_named("run", f"{run_id}-{number}") for number in shards]
        for job_id, number in zip(parts, shards, strict=True):
            self._enqueue(RUNS, "workers.run_jobs.score_shard", job_id, (run_id, number), owner)
        # At the front, so that no other run starts before this one is finished.
        after = Dependency(jobs=list(parts), allow_failure=True, enqueue_at_front=True) if parts else None
        self._enqueue(RUNS, "workers.run_jobs.score_run", job_named("run", run_id), (run_id,), owner, after)

    def enqueue_trial(self, trial_id: str, model: str, turn: int = 0, owner: str | None = None) -> None:
        """Queue a turn of a trial by its id alone, for workers that hold the model if there are any.

        This changes nothing if it is queued already.
        """
        name = trials_of(model) if self.redis.exists(_holder_key(model)) else TRIALS
        job_id = job_named("trial", f"{trial_id}-{turn}")
        self._enqueue(name, "workers.trial_jobs.measure_trial", job_id, (trial_id, turn), owner)

    def enqueue_prompt(self, prompt_id: str, model: str, turn: int = 0, owner: str | None = None) -> None:
        """Queue a turn of a prompt by its id alone, as a trial of its model."""
        name = trials_of(model) if self.redis.exists(_holder_key(model)) else TRIALS
        job_id = job_named("prompt", f"{prompt_id}-{turn}")
        self._enqueue(name, "workers.prompt_jobs.answer_prompt", job_id, (prompt_id, turn), owner)

    def withdraw(self, kind: Literal["trial", "prompt"], identifier: str, model: str) -> None:
        """Take a cancelled trial or prompt out of its queue, so that nobody waits behind it.

        One that a worker has taken stays.
        """
        beginning = job_named(kind, f"{identifier}-")
        for name in (trials_of(model), TRIALS):
            queue = self._queue(name)
            for job_id in [queued for queued in queue.get_job_ids() if queued.startswith(beginning)]:
                job = queue.fetch_job(job_id)
                if queue.remove(job_id) and job is not None:
                    job.delete()

    def enqueue_prompt_map(self, prompt_id: str, model: str, owner: str | None = None) -> None:
        """Queue the map of an answer, with the trials of its model, because a user is waiting for it."""
        name = trials_of(model) if self.redis.exists(_holder_key(model)) else TRIALS
        job_id = job_named("answermap", prompt_id)
        self._enqueue(name, "workers.prompt_jobs.map_answer", job_id, (prompt_id,), owner)

    def enqueue_task_check(self, check_id: str) -> None:
        """Queue the preview of a task, with the trials, because a user is waiting for it."""
        self._enqueue(TRIALS, "workers.task_jobs.check_task", job_named("task", check_id), (check_id,))

    def enqueue_details(self, trial_id: str) -> None:
        """Queue the details of a trial, with the trials, because a user is waiting for them."""
        self._enqueue(TRIALS, "workers.example_jobs.compute_trial_details", job_named("details", trial_id), (trial_id,))

    def enqueue_unit_examples(self, request_id: str) -> None:
        """Queue the examples of a unit, with the trials, because a user is waiting for them."""
        self._enqueue(TRIALS, "workers.example_jobs.find_unit_examples", job_named("unit", request_id), (request_id,))

    def enqueue_check(self, run_id: str, owner: str | None = None) -> None:
        """Queue the check of a run's maps, after all other work; this changes nothing while it waits or runs."""
        self._enqueue(CHECKS, "workers.check_jobs.check_run", job_named("check", run_id), (run_id,), owner)

    def enqueue_derive(self, derived_id: str, owner: str | None = None) -> None:
        """Queue the making of a derived model, with the runs; this changes nothing if it is queued already."""
        job_id = job_named("derive", derived_id)
        self._enqueue(RUNS, "workers.derive_jobs.derive_model", job_id, (derived_id,), owner)

    def enqueue_size(self, request_id: str) -> None:
        """Queue the prediction of a size, with the trials, because a user is waiting for it."""
        self._enqueue(TRIALS, "workers.derive_jobs.predict_size", job_named("size", request_id), (request_id,))

    def waiting(self, names: Iterable[str]) -> bool:
        """Return whether a job waits in one of these queues."""
        return any(self._queue(name).count for name in names)

    def lengths(self) -> dict[str, int]:
        """Return the number of waiting jobs by kind of work; queues of single models count as trials."""
        counts = dict.fromkeys((TRIALS, RUNS, CHECKS), 0)
        for queue in Queue.all(connection=self.redis, serializer=SERIALIZER):
            name = kind_of_queue(queue.name)
            if name in counts:
                counts[name] += queue.count
        return counts

    def oldest(self) -> dict[str, float]:
        """Return for how many seconds the first job of each kind of queue has waited, without empty queues."""
        ages: dict[str, float] = {}
        for queue in Queue.all(connection=self.redis, serializer=SERIALIZER):
            job = next(iter(queue.get_jobs(0, 1)), None)
            if job is not None:
                name = kind_of_queue(queue.name)
                ages[name] = max(ages.get(name, 0.0), seconds_waited(job))
        return ages

    def note_lost_workers(self) -> None:
        """Count the workers that were not heard for `lost_after_s` and said no goodbye, each once."""
        heard: Any = self.redis.hgetall(HEARD)
        now = datetime.now(UTC).timestamp()
        for name, moment in heard.items():
            age = now - float(moment)
            if age > REMEMBERED_S:
                self.redis.hdel(HEARD, name)
                self.redis.srem(COUNTED_LOST, name)
            elif age > self.lost_after_s and self.redis.sadd(COUNTED_LOST, name):
                self.metrics.count(WORKERS_LOST)

    def publish_warm(self, worker: str, warm: Warm, dropped: Iterable[str] = ()) -> None:
        """Publish what a worker keeps in memory; without an update within `lost_after_s` it counts as lost.

        dropped: models it kept before; another worker that holds one of these republishes it at its next heartbeat.
        """
        with self.redis.pipeline() as pipeline:
            pipeline.set(f"{WARM}:{worker}", warm.model_dump_json(), ex=self.lost_after_s)
            pipeline.hset(HEARD, worker, str(datetime.now(UTC).timestamp()))
            pipeline.expire(HEARD, REMEMBERED_S)
            pipeline.srem(COUNTED_LOST, worker)
            for model in {held.model for held in warm.models}:
                pipeline.set(_holder_key(model), worker, ex=self.lost_after_s)
            for model in dropped:
                pipeline.delete(_holder_key(model))
            pipeline.execute()

    def lost(self, job_ids: Sequence[str]) -> set[str]:
        """Return the jobs that Redis does not know, or marks as queued although no queue holds them.

        A worker that listens to several queues takes a job out before it is recorded as its worker; if it is killed
        just then, the job is lost. A process killed between updating the records and enqueueing leaves no job at all.
        """
        jobs = dict(zip(job_ids, Job.fetch_many(job_ids, self.redis, SERIALIZER), strict=True))
        waiting = [job for job in jobs.values() if job is not None and _is_queued(job)]
        held = {name: set(self._queue(name).get_job_ids()) for name in {job.origin for job in waiting}}
        missing = {job_id for job_id, job in jobs.items() if job is None}
        return missing | {job.id for job in waiting if job.id not in held[job.origin]}

    def requeue(self, job_id: str, enqueue: Callable[[], None]) -> None:
        """Put a job back into its queue if it exists; else call `enqueue` to create it."""
        job = self._queue(RUNS).fetch_job(job_id)
        if job is None:
            enqueue()
        else:
            self._queue(job.origin).push_job_id(job_id)

    def rescue_trials(self) -> None:
        """Move the trials in queues of single models to all workers once no worker holds the model."""
        for queue in Queue.all(connection=self.redis, serializer=SERIALIZER):
            key = queue.name.removeprefix(MODEL_QUEUE_PREFIX)
            if key == queue.name or not queue.count or self.redis.exists(f"{WARM}:model:{key}"):
                continue
            while True:
                popped: Any = self.redis.lpop(queue.key)
                if popped is None:
                    break
                job_id = as_text(popped)
                job = queue.fetch_job(job_id)
                if job is not None:
                    job.origin = TRIALS
                    job.save()
                    self._queue(TRIALS).push_job_id(job_id)

    def _queue(self, name: str) -> Queue:
        return Queue(name, connection=self.redis, serializer=SERIALIZER)

    def _enqueue(
        self,
        name: str,
        function: str,
        job_id: str,
        arguments: tuple[Any, ...],
        owner: str | None = None,
        after: Dependency | None = None,
    ) -> None:
        queue = self._queue(name)
        job = queue.fetch_job(job_id)
        if job is not None and job.get_status() in WAITING:
            return
        # No time limit: users see the progress and can cancel.
        queue.enqueue(
            function,
            args=arguments,
            job_id=job_id,
            job_timeout=-1,
            result_ttl=60,
            failure_ttl=3600,
            retry=ABANDONED_RETRY,
            depends_on=after,
            meta=_meta(owner),
        )
        if owner is not None and after is None:
            take_turn(queue, job_id, owner)

    def publish(self, kind: Kind, identifier: str, event: StreamEvent, data: BaseModel, sequence: int = 0) -> None:
        """Append an event to the stream of a run, trial or prompt (:func:`append_event`)."""
        append_event(self.redis, kind, identifier, event, data, sequence)

    def workers(self) -> list[WorkerInfo]:
        """List the workers with a heartbeat within `lost_after_s`."""
        infos = []
        for worker in Worker.all(connection=self.redis, serializer=SERIALIZER):
            heartbeat = worker.last_heartbeat
            heartbeat = (
                heartbeat.replace(tzinfo=UTC) if heartbeat is not None and heartbeat.tzinfo is None else heartbeat
            )
            if heartbeat is None or datetime.now(UTC) - heartbeat > timedelta(seconds=self.lost_after_s):
                continue
            job = _current_job_id(worker)
            warm: Any = self.redis.get(f"{WARM}:{worker.name}")
            infos.append(
                WorkerInfo(
                    name=worker.name,
                    state=str(getattr(worker.get_state(), "value", worker.get_state())),
                    queues=[name for name in worker.queue_names() if not name.startswith(MODEL_QUEUE_PREFIX)],
                    current=job_label(job) if job else None,
                    since=self._began(job) if job else None,
                    pid=worker.pid,
                    host=worker.hostname,
                    last_heartbeat=heartbeat,
                    warm=Warm.model_validate_json(warm) if warm else None,
                )
            )
        return sorted(infos, key=lambda info: info.name)

    def job_ids(self, name: str) -> list[str]:
        """Return the waiting jobs of a queue, the next one first."""
        return list(self._queue(name).get_job_ids())

    def _began(self, job_id: str) -> datetime | None:
        began: Any = self.redis.hget(Job.key_for(job_id), "started_at")
        return parse_moment(as_text(began)) if began else None

    def last_heard(self) -> tuple[str, float] | None:
        """Return the worker that was heard last without having said goodbye, and how many seconds ago; None if none."""
        heard: Any = self.redis.hgetall(HEARD)
        now = datetime.now(UTC).timestamp()
        ages = [(now - float(moment), as_text(name)) for name, moment in heard.items()]
        age, name = min(ages, default=(REMEMBERED_S, ""))
        return (name, age) if age < REMEMBERED_S else None

    def forget_worker(self, worker: str) -> None:
        """Forget a worker that ends as it should."""
        self.redis.hdel(HEARD, worker)


def parse_moment(text: str) -> datetime | None:
    """Read a moment as RQ writes it, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def seconds_waited(job: Job) -> float:
    """Return how long ago a job was queued."""
    queued = job.enqueued_at
    if queued is None:
        return 0.0
    queued = queued.replace(tzinfo=UTC) if queued.tzinfo is None else queued
    return max(0.0, (datetime.now(UTC) - queued).total_seconds())


def _meta(owner: str | None) -> dict[str, str]:
    """Return what a job carries besides its arguments: whose turn it takes, and the request that the logs name."""
    fields = {OWNER: owner, REQUEST: FIELDS.get().get(REQUEST)}
    return {name: value for name, value in fields.items() if value is not None}


def _is_queued(job: Job) -> bool:
    return job.get_status(refresh=False) is JobStatus.QUEUED


def _current_job_id(worker: BaseWorker) -> str | None:
    """Return the job of a worker; None if Redis has forgotten what it is doing.

    The entry of a job expires while its worker is stopped, and the next heartbeat writes half of it again, which RQ 3.0
    cannot read.
    """
    try:
        return worker.get_current_job_id()
    except (KeyError, ValueError):
        return None


def _holder_key(model: str) -> str:
    return f"{WARM}:model:{model_key(model)}"
