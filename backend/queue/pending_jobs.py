"""Jobs that the records still wait for. Web-free, used by workers too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from backend.queue.names import job_named
from backend.queue.queues import Queues
from backend.store.records import Records


def pending_jobs(records: Records, queues: Queues) -> Mapping[str, Callable[[], None]]:
    """Return the names of the jobs of all open runs, checks, derived models and trials.

    Each comes with a function that queues it, which changes nothing for a job that is already waiting or running.
    """
    jobs: dict[str, Callable[[], None]] = {}
    for run in records.unfinished_runs():
        shards = records.unfinished_shards(run) if run.shards > 1 else []
        queue_run = partial(queues.enqueue_run, run.id, shards, run.owner)
        jobs |= {job_named("run", name): queue_run for name in (run.id, *(f"{run.id}-{n}" for n in shards))}
    for run in records.unchecked_runs():
        jobs[job_named("check", run.id)] = partial(queues.enqueue_check, run.id, run.owner)
    for derived in records.unfinished_derived():
        jobs[job_named("derive", derived.id)] = partial(queues.enqueue_derive, derived.id, derived.owner)
    for waiting in records.waiting_trials():
        jobs[job_named("trial", f"{waiting.trial}-{waiting.turn}")] = partial(queues.enqueue_trial, *waiting)
    return jobs
