"""Redis: queues of ids for the workers, what workers keep warm, and a stream of events for each run and trial."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as RedisRetry
from rq import Queue, Retry, Worker
from rq.job import Dependency, Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import as_text

from modelshapley.contracts import Warm, WorkerInfo

RUNS, TRIALS, CHECKS = "runs", "trials", "checks"
OF_A_MODEL = f"{TRIALS}-"  # trials of a model that some worker keeps loaded: those workers listen
WARM = "modelshapley:warm"
SERIALIZER = JSONSerializer
REDIS_DOWN = (RedisConnectionError, RedisTimeoutError)
EVENTS_KEPT = 1000
EVENTS_TTL_S = 24 * 3600
# A worker in mid-job waits this out; the API, which has someone waiting, does not.
PATIENT = RedisRetry(ExponentialBackoff(cap=2.0, base=0.1), retries=60)
# A worker killed in mid-job leaves the job to another one this many times; each restart may be one.
ABANDONED = Retry(max=20)
WAITING = (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.READY_TO_ENQUEUE)
HEARTBEAT_S = 5
LOST_AFTER_S = 20

Kind = Literal["run", "trial"]


def connect(url: str) -> Redis:
    """For the API: one quick second try, then an error."""
    return Redis.from_url(
        url,
        socket_connect_timeout=2,
        socket_timeout=5,
        retry=RedisRetry(NoBackoff(), 1),
        health_check_interval=10,
    )


def connect_patiently(url: str) -> Redis:
    """For workers: rides out a restart of Redis (about two minutes)."""
    return Redis.from_url(url, retry=PATIENT, retry_on_error=list(REDIS_DOWN), health_check_interval=10)


def connect_async(url: str) -> AsyncRedis:
    return AsyncRedis.from_url(
        url,
        socket_connect_timeout=2,
        socket_timeout=20,
        retry=AsyncRetry(NoBackoff(), 1),
        decode_responses=True,
    )


@contextmanager
def undo_if_redis_is_down(undo: Callable[[], object]) -> Iterator[None]:
    """Enqueue in this block; if Redis is down, `undo` the record of the work, and re-raise."""
    try:
        yield
    except REDIS_DOWN:
        undo()
        raise


class Queues:
    """Hand work to workers, and tell the world how it goes. Errors: REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def ping(self) -> None:
        self.redis.ping()

    def enqueue_run(self, run_id: str, shards: Sequence[int] = ()) -> None:
        """Queue a run by its id alone; again for one that is queued already changes nothing.

        shards: of a run in several, the numbers of those that are still to be added up. Each is a job of its own,
        and the run's job, which merges them, waits until all have ended, well or not.
        """
        parts = [job_named("run", f"{run_id}-{number}") for number in shards]
        for job_id, number in zip(parts, shards, strict=True):
            self._enqueue(RUNS, "workers.run_jobs.score_shard", job_id, (run_id, number))
        # In front when its turn comes: no other run should be begun before this one is finished.
        after = Dependency(jobs=list(parts), allow_failure=True, enqueue_at_front=True) if parts else None
        self._enqueue(RUNS, "workers.run_jobs.score_run", job_named("run", run_id), (run_id,), after)

    def enqueue_trial(self, trial_id: str, model: str, turn: int = 0) -> None:
        """Queue the turn of a trial by its id alone, for workers that hold the model where there are any.

        Again for one that is queued already changes nothing.
        """
        name = trials_of(model) if self.redis.exists(_held(model)) else TRIALS
        job_id = job_named("trial", f"{trial_id}-{turn}")
        self._enqueue(name, "workers.trial_jobs.measure_trial", job_id, (trial_id, turn))

    def enqueue_task_check(self, check_id: str) -> None:
        """Queue a look at a task: someone waits for it as for a trial."""
        self._enqueue(TRIALS, "workers.task_jobs.check_task", job_named("task", check_id), (check_id,))

    def enqueue_details(self, trial_id: str) -> None:
        """Queue a look behind a trial: someone waits for it."""
        self._enqueue(TRIALS, "workers.example_jobs.compute_trial_details", job_named("details", trial_id), (trial_id,))

    def enqueue_unit_examples(self, look_id: str) -> None:
        """Queue a look at a unit: someone waits for it."""
        self._enqueue(TRIALS, "workers.example_jobs.find_unit_examples", job_named("unit", look_id), (look_id,))

    def enqueue_check(self, run_id: str) -> None:
        """Queue the check of a run's maps, behind all other work; again changes nothing while it waits or runs."""
        self._enqueue(CHECKS, "workers.check_jobs.check_run", job_named("check", run_id), (run_id,))

    def waiting(self, names: Iterable[str]) -> bool:
        """Whether a job waits in one of these queues."""
        return any(self._queue(name).count for name in names)

    def lengths(self) -> dict[str, int]:
        """How many jobs wait, by kind of work: trials of models that some worker keeps loaded are trials, too."""
        found = dict.fromkeys((TRIALS, RUNS, CHECKS), 0)
        for queue in Queue.all(connection=self.redis, serializer=SERIALIZER):
            name = TRIALS if queue.name.startswith(OF_A_MODEL) else queue.name
            if name in found:
                found[name] += queue.count
        return found

    def tell_warm(self, worker: str, warm: Warm, dropped: Iterable[str] = ()) -> None:
        """What a worker keeps; told again within LOST_AFTER_S, or it counts as lost.

        dropped: models it kept before; another worker that keeps one of these too says so at its next heartbeat.
        """
        with self.redis.pipeline() as pipeline:
            pipeline.set(f"{WARM}:{worker}", warm.model_dump_json(), ex=LOST_AFTER_S)
            for model in {kept.model for kept in warm.models}:
                pipeline.set(_held(model), worker, ex=LOST_AFTER_S)
            for model in dropped:
                pipeline.delete(_held(model))
            pipeline.execute()

    def lost(self, job_ids: Sequence[str]) -> set[str]:
        """Those of these jobs that Redis does not know, or calls waiting though no queue holds them.

        A worker that listens to several queues takes a job out before anything says that it has it; killed just
        then it takes the job along. One that is killed between its records and the queue leaves no job at all.
        """
        jobs = dict(zip(job_ids, Job.fetch_many(job_ids, self.redis, SERIALIZER), strict=True))
        waiting = [job for job in jobs.values() if job is not None and _is_queued(job)]
        held = {name: set(self._queue(name).get_job_ids()) for name in {job.origin for job in waiting}}
        gone = {job_id for job_id, job in jobs.items() if job is None}
        return gone | {job.id for job in waiting if job.id not in held[job.origin]}

    def push_again(self, job_id: str, enqueue: Callable[[], None]) -> None:
        """Into its queue where there is such a job; else `enqueue` makes it anew."""
        job = self._queue(RUNS).fetch_job(job_id)
        if job is None:
            enqueue()
        else:
            self._queue(job.origin).push_job_id(job_id)

    def rescue_trials(self) -> None:
        """Trials that wait for workers that keep a model loaded go to all workers once there is none any more."""
        for queue in Queue.all(connection=self.redis, serializer=SERIALIZER):
            key = queue.name.removeprefix(OF_A_MODEL)
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
        self, name: str, function: str, job_id: str, arguments: tuple[Any, ...], after: Dependency | None = None
    ) -> None:
        queue = self._queue(name)
        job = queue.fetch_job(job_id)
        if job is not None and job.get_status() in WAITING:
            return
        # No time limit: progress is watched, and a person can cancel.
        queue.enqueue(
            function,
            args=arguments,
            job_id=job_id,
            job_timeout=-1,
            result_ttl=60,
            failure_ttl=3600,
            retry=ABANDONED,
            depends_on=after,
        )

    def publish(
        self, kind: Kind, identifier: str, event: Literal["progress", "status"], data: BaseModel, sequence: int = 0
    ) -> None:
        """Append an event to the stream of a run or trial; the newest EVENTS_KEPT stay for a day.

        sequence: where events are numbered, the number of this one; one that comes after its successor is no news
        and is left out.
        """
        key = _stream(kind, identifier)
        with self.redis.pipeline() as pipeline:
            pipeline.xadd(
                key,
                {"event": event, "data": data.model_dump_json()},
                id=f"{sequence}-0" if sequence else "*",
                maxlen=EVENTS_KEPT,
                approximate=True,
            )
            pipeline.expire(key, EVENTS_TTL_S)
            added, _ = pipeline.execute(raise_on_error=False)
        if isinstance(added, ResponseError) and sequence and "equal or smaller" in str(added):
            return
        if isinstance(added, Exception):
            raise added

    def workers(self) -> list[WorkerInfo]:
        """Workers whose heart beat within LOST_AFTER_S."""
        infos = []
        for worker in Worker.all(connection=self.redis, serializer=SERIALIZER):
            beat = worker.last_heartbeat
            beat = beat.replace(tzinfo=UTC) if beat is not None and beat.tzinfo is None else beat
            if beat is None or datetime.now(UTC) - beat > timedelta(seconds=LOST_AFTER_S):
                continue
            job = worker.get_current_job_id()
            told: Any = self.redis.get(f"{WARM}:{worker.name}")
            infos.append(
                WorkerInfo(
                    name=worker.name,
                    state=str(getattr(worker.get_state(), "value", worker.get_state())),
                    queues=[name for name in worker.queue_names() if not name.startswith(OF_A_MODEL)],
                    current=_in_hand(job) if job else None,
                    pid=worker.pid,
                    host=worker.hostname,
                    last_heartbeat=beat,
                    warm=Warm.model_validate_json(told) if told else None,
                )
            )
        return sorted(infos, key=lambda info: info.name)


class Events:
    """Read the streams, from the event loop."""

    def __init__(self, redis: AsyncRedis) -> None:
        self.redis = redis

    async def last_id(self, kind: Kind, identifier: str) -> str:
        """Id of the newest event, '0-0' before the first."""
        newest = await self.redis.xrevrange(_stream(kind, identifier), count=1)
        return str(newest[0][0]) if newest else "0-0"

    async def after(
        self, kind: Kind, identifier: str, last_id: str, wait_s: float
    ) -> AsyncIterator[tuple[str, str, str]]:
        """(id, event, data) of the events after `last_id`; waits up to `wait_s` for the first."""
        key = _stream(kind, identifier)
        answer: Any = await self.redis.xread({key: last_id}, block=int(wait_s * 1000), count=100)
        for _, entries in answer or []:
            for event_id, fields in entries:
                yield str(event_id), fields["event"], fields["data"]


def job_named(kind: Kind | Literal["check", "task", "details", "unit"], identifier: str) -> str:
    """Name of a job: of a run or one of its shards ('<id>-<shard>'), a turn of a trial ('<id>-<turn>') ..."""
    return f"{kind}-{identifier}"


def _stream(kind: Kind, identifier: str) -> str:
    return f"modelshapley:events:{kind}:{identifier}"


def _is_queued(job: Job) -> bool:
    return job.get_status(refresh=False) is JobStatus.QUEUED


def _in_hand(job_id: str) -> str:
    """'run:<id>', 'run:<id>:<shard>', 'trial:<id>' ... of a job; the turn of a trial is nobody's business."""
    parts = job_id.split("-")
    return ":".join(parts[:2] if parts[0] == "trial" else parts)


def _short(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:16]


def trials_of(model: str) -> str:
    """Name of the queue of a model's trials."""
    return OF_A_MODEL + _short(model)


def _held(model: str) -> str:
    return f"{WARM}:model:{_short(model)}"
