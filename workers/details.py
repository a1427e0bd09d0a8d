"""The jobs behind single examples: what a trial flipped, and on which examples a unit does most."""

from __future__ import annotations

import logging

from modelshapley.contracts import Status
from modelshapley.details import details, unit_examples
from modelshapley.errors import NotFound
from modelshapley.intervals import unpack
from modelshapley.tasks.details import TrialDetails
from workers.failures import failures_recorded
from workers.shop import Shop, open_shop

log = logging.getLogger(__name__)


def look_behind(trial_id: str) -> None:
    """Tell classes and flipped examples of a finished trial."""
    shop = open_shop()
    kept = shop.asked.details
    kept.save(trial_id, TrialDetails(trial=trial_id, status=Status.RUNNING))

    def fail(words: str) -> None:
        kept.save(trial_id, TrialDetails(trial=trial_id, status=Status.FAILED, error=words))

    with failures_recorded(fail):
        kept.save(trial_id, _behind(shop, trial_id))


def _behind(shop: Shop, trial_id: str) -> TrialDetails:
    trial = shop.records.trial(trial_id)
    answers = shop.records.trial_answers(trial_id)
    if answers is None:
        raise NotFound(f"The answers of trial {trial_id} were not kept; measure it again.")
    run = shop.records.run(trial.run)
    loaded, task = shop.scored_model(run), shop.scored_task(run)
    deactivation = trial.off.deactivation(trial.treatment)
    activations = shop.activations(run, loaded, task, deactivation)
    intact = shop.intact(run, loaded, task)
    return details(
        loaded, task, deactivation, unpack(answers), intact, run.seed, activations=activations, trial=trial_id
    )


def look_at_unit(look_id: str) -> None:
    """Tell the scored examples on which a unit does most."""
    shop = open_shop()
    kept = shop.asked.unit_examples
    try:
        look = kept.found(look_id)
    except NotFound:
        log.info("look %s at a unit is forgotten", look_id)
        return
    kept.save(look_id, look.model_copy(update={"status": Status.RUNNING}))

    def fail(words: str) -> None:
        kept.save(look_id, look.model_copy(update={"status": Status.FAILED, "error": words}))

    with failures_recorded(fail):
        run = shop.records.run(look.run)
        loaded, task = shop.scored_model(run), shop.scored_task(run)
        n, examples = unit_examples(
            loaded, task, look.kind, tuple(look.unit), run.seed, run.limit, shop.turns.give_way
        )
        kept.save(look_id, look.model_copy(update={"status": Status.DONE, "n": n, "examples": examples}))
