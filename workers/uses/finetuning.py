"""Fine-tunes chosen units, from the last checkpoint if an earlier worker was killed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from modelshapley.applications.finetuning.finetune import finetune, impossible_controls, planned_controls
from modelshapley.applications.finetuning.trainer import CHECKPOINT_EVERY
from modelshapley.contracts.applications.finetuning import FinetunedInfo
from modelshapley.contracts.applications.requests import FinetuneRequest
from workers.context import WorkerContext
from workers.uses.job import UseJob


def checkpoints_of(context: WorkerContext, derived_id: str) -> Path:
    """Return the folder of the checkpoints of a derived model; it is hidden, so that it is listed as no model."""
    return context.settings.data / "derived" / ".checkpoints" / derived_id


def forget_checkpoints(context: WorkerContext, derived_id: str) -> None:
    """Delete the checkpoints of a derived model that has ended."""
    shutil.rmtree(checkpoints_of(context, derived_id), ignore_errors=True)


def make_finetuned(job: UseJob, request: FinetuneRequest) -> dict[str, Any]:
    """Return the record of the model that was saved."""
    return (job.saved_before(FinetunedInfo) or _made(job, request)).model_dump(mode="json")


def _made(job: UseJob, request: FinetuneRequest) -> FinetunedInfo:
    context, run = job.context, job.run
    job.step("Loading the model")
    # Trials use the warm model between two steps, so that another one must train.
    loaded = context.warm.own_copy(context.scored_model(run))
    chosen = job.chosen()
    units = chosen.off.deactivation()
    arms = ("targeted", *planned_controls(request.controls, impossible_controls(loaded, units)))
    checkpoints = checkpoints_of(context, job.derived.id)
    checkpoints.mkdir(parents=True, exist_ok=True)

    def on_step(arm: str, done: int, steps: int) -> None:
        if done % CHECKPOINT_EVERY == 0 or done == steps:
            context.turns.progressed()
        job.count(f"Training: {arm}", arms.index(arm) * steps + done, len(arms) * steps)
        job.pause()

    job.step("Measuring the parent")
    return finetune(
        loaded,
        context.scored_task(run),
        units,
        job.folder,
        settings=request.settings,
        controls=arms[1:],
        adapter=request.adapter,
        importance_map=job.map_of(chosen),
        limit=run.limit,
        seed=run.seed,
        checkpoints=checkpoints,
        job=job.derived.id,
        on_step=on_step,
        pause=job.pause,
    )
