"""Names of queues and jobs."""

from __future__ import annotations

import hashlib
from typing import Literal

from backend.queue.event_streams import Kind

RUNS, TRIALS, CHECKS = "runs", "trials", "checks"
MODEL_QUEUE_PREFIX = f"{TRIALS}-"  # queues that only workers with the model loaded listen to


def job_named(
    kind: Kind | Literal["check", "task", "details", "unit", "derive", "size", "answermap"], identifier: str
) -> str:
    """Return the name of a job: of a run or one of its shards ('<id>-<shard>'), a turn of a trial or prompt
    ('<id>-<turn>') ...
    """
    return f"{kind}-{identifier}"


def kind_of_queue(name: str) -> str:
    """Return the kind of work in a queue; queues of single models hold trials."""
    return TRIALS if name.startswith(MODEL_QUEUE_PREFIX) else name


def job_label(job_id: str) -> str:
    """Return 'run:<id>', 'run:<id>:<shard>', 'trial:<id>' ... for a job, without the turn of a trial or prompt."""
    parts = job_id.split("-")
    return ":".join(parts[:2] if parts[0] in ("trial", "prompt") else parts)


def model_key(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:16]


def trials_of(model: str) -> str:
    """Return the name of the queue of a model's trials."""
    return MODEL_QUEUE_PREFIX + model_key(model)
