"""Jobs for single examples: those that a trial flips, and those that a unit affects most."""

from __future__ import annotations

import logging

from modelshapley.contracts import Status
from modelshapley.contracts.task_files.examples import TrialDetails
from modelshapley.errors import NotFound
from modelshapley.evaluation.examples import trial_details, unit_examples
from modelshapley.evaluation.intervals import unpack
from workers.context import WorkerContext, get_context
from workers.running.failures import failures_recorded

log = logging.getLogger(__name__)


def compute_trial_details(trial_id: str) -> None:
    """Compute classes and flipped examples of a finished trial."""
    context = get_context()
    cache = context.result_caches.details
    cache.save(trial_id, TrialDetails(trial=trial_id, status=Status.RUNNING))

    def fail(error: str) -> None:
        cache.save(trial_id, TrialDetails(trial=trial_id, status=Status.FAILED, error=error))

    with failures_recorded(fail):
        cache.save(trial_id, _details_of(context, trial_id))


def _details_of(context: WorkerContext, trial_id: str) -> TrialDetails:
    trial = context.records.trial(trial_id)
    answers = context.records.trial_answers(trial_id)
    if answers is None:
        raise NotFound(f"The answers of trial {trial_id} are not stored; measure it again.")
    run = context.records.run(trial.run)
    loaded, task = context.scored_model(run), context.scored_task(run)
    deactivation = trial.off.deactivation(trial.treatment)
    activations = context.activations(run, loaded, task, deactivation)
    intact = context.intact(run, loaded, task)
    return trial_details(
        loaded, task, deactivation, unpack(answers), intact, run.seed, activations=activations, trial=trial_id
    )


def find_unit_examples(request_id: str) -> None:
    """Find the scored examples that a unit affects most."""
    context = get_context()
    cache = context.result_caches.unit_examples
    try:
        request = cache.get(request_id)
    except NotFound:
        log.info("request %s for unit examples has expired", request_id)
        return
    cache.save(request_id, request.model_copy(update={"status": Status.RUNNING}))

    def fail(error: str) -> None:
        cache.save(request_id, request.model_copy(update={"status": Status.FAILED, "error": error}))

    with failures_recorded(fail):
        run = context.records.run(request.run)
        loaded, task = context.scored_model(run), context.scored_task(run)
        n, examples = unit_examples(
            loaded, task, request.kind, tuple(request.unit), run.seed, run.limit, context.turns.yield_to_trials
        )
        cache.save(request_id, request.model_copy(update={"status": Status.DONE, "n": n, "examples": examples}))
