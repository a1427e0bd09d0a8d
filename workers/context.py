"""Connections and warm models that all jobs of a worker process share, opened once."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from backend.queue.connections import connect_patiently
from backend.queue.fetches import Fetches
from backend.queue.leases import Leases
from backend.queue.pending_jobs import pending_jobs
from backend.queue.prompts import Prompts
from backend.queue.queues import Queues
from backend.queue.result_cache import ResultCaches
from backend.queue.updates import Updates
from backend.queue.watched_runs import WatchedRuns
from backend.settings import Settings
from backend.store.files import Storage
from backend.store.records import Records
from backend.store.schema import migrate
from modelshapley.contracts import Run
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.activations import Activations
from modelshapley.evaluation.intervals import Outcomes
from modelshapley.models.catalog import Catalog
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation
from workers.running.turns import Turns
from workers.warm.models import Warm, pick_device
from workers.warm.parked import ParkedWritings
from workers.warm.tasks import WarmTasks


@dataclass(frozen=True)
class WorkerContext:
    """Shared state of a worker. `name` is the worker's name in RQ and in the records."""

    settings: Settings
    name: str
    records: Records
    queues: Queues
    storage: Storage
    warm: Warm
    tasks: WarmTasks
    result_caches: ResultCaches
    turns: Turns
    parked: ParkedWritings

    def scored_model(self, run: Run) -> LoadedModel:
        """Return the model of a finished run. Raises ModelShapleyError if its files have changed since."""
        loaded = self.warm.model(run.model)
        if loaded.revision != self.records.revision(run.id):
            raise ModelShapleyError(f"The files of {run.model!r} have changed since run {run.id}; score it again.")
        return loaded

    def scored_task(self, run: Run) -> Task[Any]:
        """Return the task of a finished run. Raises ModelShapleyError if its examples have changed since."""
        task = self.tasks.load(run.task)
        # Older runs have no recorded fingerprint; only the provenance of their maps names it.
        if run.task_fingerprint in (None, task.fingerprint(run.seed)):
            return task
        task = self.tasks.fresh(run.task)  # another worker may have scored newer data than this one has in memory
        if task.fingerprint(run.seed) != run.task_fingerprint:
            raise ModelShapleyError(
                f"The examples of task {run.task!r} have changed since run {run.id}; score it again."
            )
        return task

    @property
    def leases(self) -> Leases:
        """Return which trials somebody still waits for."""
        return Leases(self.queues.redis)

    @property
    def watched(self) -> WatchedRuns:
        """Return which runs somebody watches while they are scored."""
        return WatchedRuns(self.queues.redis)

    @property
    def prompts(self) -> Prompts:
        """Return the prompts by hand of the last hour."""
        return Prompts(self.queues.redis)

    @property
    def updates(self) -> Updates:
        """Record and publish changes of runs and trials."""
        return Updates(self.records, self.queues)

    def pending_jobs(self) -> Mapping[str, Callable[[], None]]:
        """Return the names of the jobs that the records wait for, each with a function that queues it."""
        return pending_jobs(self.records, self.queues)

    def activations(
        self, run: Run, loaded: LoadedModel, task: Task[Any], deactivation: Deactivation
    ) -> Activations | None:
        """Return activation statistics on the probe examples, if the deactivation needs them."""
        needed = deactivation.treatment.needs_activations
        return self.warm.activations(loaded, task, run.seed) if needed else None

    def intact(self, run: Run, loaded: LoadedModel, task: Task[Any]) -> Outcomes:
        """Return the intact model's outcomes on the test examples of a finished run, as measured when it was scored."""
        return self.warm.intact(loaded, task, run.seed, lambda: self.storage.load_intact(run.id))


@cache
def get_context() -> WorkerContext:
    """Return the context of this process, opened on the first call."""
    settings = Settings.from_environment()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    migrate(settings.records_url)
    records = Records(settings.records_url)
    redis = connect_patiently(settings.redis_url.get_secret_value())
    turns = Turns()
    return WorkerContext(
        settings=settings,
        name=f"{socket.gethostname()}-{os.getpid()}",
        records=records,
        queues=Queues(redis, settings.lost_after_seconds),
        storage=Storage(settings.maps_url),
        warm=Warm(
            Catalog(settings.data, settings.model_roots, settings.hub),
            pick_device(settings.device),
            settings.dtype,
            settings.model_memory_bytes,
            settings.trial_memory_bytes,
            turns.yield_to_trials,
            turns.publish_state,
            Fetches(redis).publish,
        ),
        tasks=WarmTasks(settings.dataset_folders, records.tasks),
        result_caches=ResultCaches(redis),
        turns=turns,
        parked=ParkedWritings(),
    )
