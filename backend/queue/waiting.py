"""What waiting trials wait for: how many are ahead, what the workers do, and for how long."""

from __future__ import annotations

from backend.queue.leases import Leases
from backend.queue.names import TRIALS, trials_of
from backend.queue.queues import Queues
from backend.store.records import Records
from modelshapley import formatting
from modelshapley.contracts import Status, Trial, Waiting, WorkerInfo
from modelshapley.contracts.prompts import Prompt
from modelshapley.errors import NotFound

DOING = {
    "run": "scores run",
    "check": "checks run",
    "trial": "measures another trial",
    "prompt": "answers another prompt",
    "derive": "makes or probes a model",
}


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
        jobs = queues.job_ids(name)
        places = [place for place, name_of_job in enumerate(jobs) if name_of_job.startswith(job)]
        if places:
            ahead = places[0] - _abandoned(records, queues, jobs[: places[0]])
    busy = [worker for worker in with_time_left(records, queues.workers()) if worker.current]
    busy.sort(key=lambda worker: worker.eta_s if worker.eta_s is not None else float("inf"))
    current, eta_s = (busy[0].current, busy[0].eta_s) if busy else (None, None)
    return Waiting(ahead=ahead, busy_with=current, eta_s=eta_s, sentence=queue_sentence(ahead, current, eta_s))


def _abandoned(records: Records, queues: Queues, jobs: list[str]) -> int:
    """Count the trials whose page was closed: a worker that takes one lays it aside at once."""
    trials = [identifier for kind, identifier, *_ in (job.split("-") for job in jobs) if kind == "trial"]
    leased = records.leased_trials(trials) if trials else []
    return len(leased) - Leases(queues.redis).count_held(leased) if leased else 0


def queue_sentence(ahead: int, busy_with: str | None, eta_s: float | None) -> str:
    """Say what a queued trial or prompt waits for, and for how long. busy_with, eta_s: as in `Waiting`."""
    if not ahead and busy_with is None:
        return "waiting for a worker …"
    parts = []
    if ahead:
        parts.append(f"{ahead} ahead in the queue" if ahead > 1 else "one ahead in the queue")
    if busy_with:
        kind, _, identifier = busy_with.partition(":")
        name = f" {identifier.partition(':')[0]}" if kind in ("run", "check") else ""
        left = f", about {formatting.duration(eta_s)} left" if eta_s is not None else ""
        parts.append(f"a worker {DOING.get(kind, 'is busy')}{name}{left}")
    return f"waiting: {'; '.join(parts)} …"


def with_time_left(records: Records, workers: list[WorkerInfo]) -> list[WorkerInfo]:
    """Return the workers, with the time left of the runs that they score and the models that they make."""
    return [worker.model_copy(update={"eta_s": _time_left(records, worker.current)}) for worker in workers]


def _time_left(records: Records, current: str | None) -> float | None:
    kind, _, rest = (current or "").partition(":")
    identifier = rest.partition(":")[0]
    try:
        if kind == "derive":
            return records.derived(identifier).progress.eta_s
        return records.run(identifier).progress.eta_s if kind == "run" else None
    except NotFound:
        return None
