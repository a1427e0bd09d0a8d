"""The job of a trial: it measures a deactivation and publishes an event after each chunk.

It is queued by name with an id and a turn. It may start twice (because its worker was killed): then it continues after
the previous turn, and counts the restart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from modelshapley.contracts import Status, Trial
from modelshapley.evaluation.intervals import Outcomes, pack, precise_enough, unpack
from modelshapley.evaluation.trials import answers, compare
from workers.context import WorkerContext, get_context
from workers.running.failures import failures_recorded

log = logging.getLogger(__name__)


def measure_trial(trial_id: str, turn: int = 0) -> None:
    """Measure an open trial until it is done, or until its turn is over and other trials wait."""
    context = get_context()
    started_trial = context.updates.begin_trial(trial_id, turn, context.name)
    if started_trial is None:
        log.info("turn %d of trial %s is over", turn, trial_id)
        return
    with failures_recorded(
        lambda error: context.updates.update_trial(trial_id, "status", status=Status.FAILED, error=error)
    ):
        if not _is_wanted(context, started_trial.trial):
            return
        _measure(context, started_trial.trial, unpack(started_trial.answers) if started_trial.answers else None)


def _measure(context: WorkerContext, trial: Trial, known_answers: Outcomes | None) -> None:
    started = time.monotonic()
    for correct in _chunks(context, trial, known_answers):
        if context.turns.over(started):
            next_job = context.records.yield_trial(trial.id, pack(correct))
            if next_job is not None:
                context.queues.enqueue_trial(*next_job)
            return


def _chunks(context: WorkerContext, trial: Trial, known_answers: Outcomes | None) -> Iterator[Outcomes]:
    """Yield the outcomes so far, after each chunk but the last; stop if they suffice or the trial is not open any
    more.
    """
    run = context.records.run(trial.run)
    loaded, task = context.scored_model(run), context.scored_task(run)
    intact = context.intact(run, loaded, task)
    states = context.warm.states(loaded, task, run.seed)
    deactivation = trial.off.deactivation(trial.treatment)
    activations = context.activations(run, loaded, task, deactivation)
    measuring = answers(
        loaded, task, deactivation, run.seed, states=states, activations=activations, known_answers=known_answers
    )
    for correct, total in measuring:
        comparison = compare(correct, intact)
        target = trial.half_width
        enough = len(correct) == total or (target is not None and precise_enough(comparison, target))
        values: dict[str, Any] = {
            "n": len(correct),
            "total": total,
            "result": comparison.model_dump(mode="json"),
            "recomputed": states.refused,
        }
        if enough:
            values |= {"status": Status.DONE, "answers": pack(correct)}
        updated = context.updates.update_trial(trial.id, "status" if enough else "progress", **values)
        if enough or updated is None or not _is_wanted(context, updated):
            return
        yield correct


def _is_wanted(context: WorkerContext, trial: Trial) -> bool:
    """Cancel a leased trial that nobody follows any more, and return False for it."""
    if not trial.leased or context.leases.held(trial.id):
        return True
    context.updates.update_trial(trial.id, "status", status=Status.CANCELLED, error="its page was closed")
    return False
