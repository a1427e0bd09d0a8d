"""The job behind a trial: measure a deactivation, an event after each chunk. Queued by name with an id and a turn.

It may be started twice (its worker was killed): it then goes on after the turn before, and counts the loss.
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
from workers.failures import failures_recorded

log = logging.getLogger(__name__)


def measure_trial(trial_id: str, turn: int = 0) -> None:
    """Measure an open trial until it is done, or until others have waited for one turn of it."""
    context = get_context()
    begun = context.begin_trial(trial_id, turn)
    if begun is None:
        log.info("turn %d of trial %s is not to be done any more", turn, trial_id)
        return
    with failures_recorded(lambda error: context.update_trial(trial_id, "status", status=Status.FAILED, error=error)):
        _measure(context, begun.trial, unpack(begun.answers) if begun.answers else None)


def _measure(context: WorkerContext, trial: Trial, known_answers: Outcomes | None) -> None:
    began = time.monotonic()
    for correct in _chunks(context, trial, known_answers):
        if context.turns.over(began):
            waiting = context.records.put_trial_back(trial.id, pack(correct))
            if waiting is not None:
                context.queues.enqueue_trial(*waiting)
            return


def _chunks(context: WorkerContext, trial: Trial, known_answers: Outcomes | None) -> Iterator[Outcomes]:
    """The answers so far, after each chunk but the last; ends where they are enough or it is not open now."""
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
        wanted = trial.half_width
        enough = len(correct) == total or (wanted is not None and precise_enough(comparison, wanted))
        values: dict[str, Any] = {
            "n": len(correct),
            "total": total,
            "result": comparison.model_dump(mode="json"),
            "recomputed": states.refused,
        }
        if enough:
            values |= {"status": Status.DONE, "answers": pack(correct)}
        told = context.update_trial(trial.id, "status" if enough else "progress", **values)
        if enough or told is None:
            return
        yield correct
