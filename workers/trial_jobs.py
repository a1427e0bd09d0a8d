"""The job behind a trial: measure a deactivation, an event after each chunk. Queued by name with an id and a turn.

It may be started twice (its worker was killed): it then goes on after the turn before, and counts the loss.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from modelshapley.contracts import Status, Trial
from modelshapley.intervals import Outcomes, pack, precise_enough, unpack
from modelshapley.trials import answers, compare
from workers.failures import failures_recorded
from workers.shop import Shop, open_shop

log = logging.getLogger(__name__)


def measure_trial(trial_id: str, turn: int = 0) -> None:
    """Measure an open trial until it is done, or until others have waited for one turn of it."""
    shop = open_shop()
    begun = shop.begin_trial(trial_id, turn)
    if begun is None:
        log.info("turn %d of trial %s is not to be done any more", turn, trial_id)
        return
    with failures_recorded(lambda error: shop.update_trial(trial_id, "status", status=Status.FAILED, error=error)):
        _measure(shop, begun.trial, unpack(begun.answers) if begun.answers else None)


def _measure(shop: Shop, trial: Trial, already: Outcomes | None) -> None:
    began = time.monotonic()
    for correct in _chunks(shop, trial, already):
        if shop.turns.over(began):
            waiting = shop.records.put_trial_back(trial.id, pack(correct))
            if waiting is not None:
                shop.queues.enqueue_trial(*waiting)
            return


def _chunks(shop: Shop, trial: Trial, already: Outcomes | None) -> Iterator[Outcomes]:
    """The answers so far, after each chunk but the last; ends where they are enough or it is not open now."""
    run = shop.records.run(trial.run)
    loaded, task = shop.scored_model(run), shop.scored_task(run)
    intact = shop.intact(run, loaded, task)
    states = shop.warm.states(loaded, task, run.seed)
    deactivation = trial.off.deactivation(trial.treatment)
    activations = shop.activations(run, loaded, task, deactivation)
    measuring = answers(
        loaded, task, deactivation, run.seed, states=states, activations=activations, already=already
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
        told = shop.update_trial(trial.id, "status" if enough else "progress", **values)
        if enough or told is None:
            return
        yield correct
