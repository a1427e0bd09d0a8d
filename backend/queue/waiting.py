"""What waiting trials wait for: how many are ahead, what the workers do, and for how long."""

from __future__ import annotations

from backend.queue.queues import TRIALS, Queues, trials_of
from backend.store.records import Records
from modelshapley.contracts import Status, Trial, Waiting, WorkerInfo
from modelshapley.contracts.prompts import Prompt
from modelshapley.errors import NotFound


def with_waiting(records: Records, queues: Queues, trial: Trial) -> Trial:
    """Return the trial, with what is ahead of it while it is queued. Errors: REDIS_DOWN."""
    if trial.status is not Status.QUEUED:
        return trial
    model = records.run(trial.run).model
    return trial.model_copy(update={"waiting": _waiting(records, queues, model, f"trial-{trial.id}-")})


def prompt_with_waiting(records: Records, queues: Queues, prompt: Prompt) -> Prompt:
    """Return the prompt, with what is ahead of it while it is queued. Errors: REDIS_DOWN."""
    if prompt.status is not Status.QUEUED:
        return prompt
    return prompt.model_copy(update={"waiting": _waiting(records, queues, prompt.model, f"prompt-{prompt.id}-")})


def _waiting(records: Records, queues: Queues, model: str, job: str) -> Waiting:
    """Return what waits before a job, by the beginning of its name."""
    ahead = 0
    for name in (trials_of(model), TRIALS):
        places = [place for place, name_of_job in enumerate(queues.job_ids(name)) if name_of_job.startswith(job)]
        ahead = places[0] if places else ahead
    busy = [worker for worker in with_time_left(records, queues.workers()) if worker.current]
    busy.sort(key=lambda worker: worker.eta_s if worker.eta_s is not None else float("inf"))
    first = busy[0] if busy else None
    return Waiting(ahead=ahead, busy_with=first.current if first else None, eta_s=first.eta_s if first else None)


def with_time_left(records: Records, workers: list[WorkerInfo]) -> list[WorkerInfo]:
    """Return the workers, with the time left of the runs that they score."""
    return [worker.model_copy(update={"eta_s": _time_left(records, worker.current)}) for worker in workers]


def _time_left(records: Records, current: str | None) -> float | None:
    kind, _, rest = (current or "").partition(":")
    if kind != "run":
        return None
    try:
        return records.run(rest.partition(":")[0]).progress.eta_s
    except NotFound:
        return None
