"""The jobs behind single examples: what a trial flipped, and on which examples a unit does most."""

from __future__ import annotations

import logging

from modelshapley.contracts import Status
from modelshapley.contracts.examples import TrialDetails
from modelshapley.errors import NotFound
from modelshapley.evaluation.examples import trial_details, unit_examples
from modelshapley.evaluation.intervals import unpack
from workers.context import WorkerContext, get_context
from workers.failures import failures_recorded

log = logging.getLogger(__name__)


def compute_trial_trial_details(trial_id: str) -> None:
    """Tell classes and flipped examples of a finished trial."""
    context = get_context()
    kept = context.result_caches.details
    kept.save(trial_id, TrialDetails(trial=trial_id, status=Status.RUNNING))

    def fail(words: str) -> None:
        kept.save(trial_id, TrialDetails(trial=trial_id, status=Status.FAILED, error=words))

    with failures_recorded(fail):
        kept.save(trial_id, _behind(context, trial_id))


def _behind(context: WorkerContext, trial_id: str) -> TrialDetails:
    trial = context.records.trial(trial_id)
    answers = context.records.trial_answers(trial_id)
    if answers is None:
        raise NotFound(f"The answers of trial {trial_id} were not kept; measure it again.")
    run = context.records.run(trial.run)
    loaded, task = context.scored_model(run), context.scored_task(run)
    deactivation = trial.off.deactivation(trial.treatment)
    activations = context.activations(run, loaded, task, deactivation)
    intact = context.intact(run, loaded, task)
    return trial_details(
        loaded, task, deactivation, unpack(answers), intact, run.seed, activations=activations, trial=trial_id
    )


def find_unit_examples(request_id: str) -> None:
    """Tell the scored examples on which a unit does most."""
    context = get_context()
    kept = context.result_caches.unit_examples
    try:
        look = kept.get(request_id)
    except NotFound:
        log.info("look %s at a unit is forgotten", request_id)
        return
    kept.save(request_id, look.model_copy(update={"status": Status.RUNNING}))

    def fail(words: str) -> None:
        kept.save(request_id, look.model_copy(update={"status": Status.FAILED, "error": words}))

    with failures_recorded(fail):
        run = context.records.run(look.run)
        loaded, task = context.scored_model(run), context.scored_task(run)
        n, examples = unit_examples(
            loaded, task, look.kind, tuple(look.unit), run.seed, run.limit, context.turns.yield_to_trials
        )
        kept.save(request_id, look.model_copy(update={"status": Status.DONE, "n": n, "examples": examples}))
