"""Routes for single examples: those that a trial flips, and those that a unit affects most. Kept for an hour."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from backend.web.bodies import BodyRoute
from backend.web.dependencies import ServicesDep
from backend.web.finished_runs import finished
from backend.web.routes.runs import get_run
from backend.web.routes.trials import get_trial
from modelshapley.contracts import Run, Status, Trial
from modelshapley.contracts.task_files.examples import TrialDetails, UnitExamples, UnitExamplesRequest
from modelshapley.errors import Conflict, NotFound
from modelshapley.units import Deactivation, UnitKind, UnitShapes

router = APIRouter(route_class=BodyRoute)


@router.post("/trials/{trial_id}/details", status_code=202, tags=["trials"])
def request_trial_details(trial: Annotated[Trial, Depends(get_trial)], services: ServicesDep) -> TrialDetails:
    """Have a worker compute the accuracy of each class before and after, and the flipped examples."""
    if trial.status is not Status.DONE:
        raise Conflict(f"Trial {trial.id} is {trial.status.value}; its details are available once it is done.")
    cache = services.result_caches.details
    try:
        result = cache.get(trial.id)
        if result.status is not Status.FAILED:
            return result
    except NotFound:
        pass  # not requested yet
    details = TrialDetails(trial=trial.id, status=Status.QUEUED)
    cache.save(trial.id, details)
    services.queues.enqueue_details(trial.id)
    return details


@router.get("/trials/{trial_id}/details", tags=["trials"])
def get_trial_details(trial: Annotated[Trial, Depends(get_trial)], services: ServicesDep) -> TrialDetails:
    """Return the result, complete once `status` is done; it is kept for an hour."""
    try:
        return services.result_caches.details.get(trial.id)
    except NotFound as error:
        raise Conflict(
            f"The details of trial {trial.id} were not requested, or more than an hour ago; request them with a POST "
            "to this address."
        ) from error


@router.post("/runs/{run_id}/unit-examples", status_code=202, tags=["runs"])
def request_unit_examples(
    request: UnitExamplesRequest, run: Annotated[Run, Depends(get_run)], services: ServicesDep
) -> UnitExamples:
    """Have a worker find the scored examples that a unit affects most, with its effect at each position."""
    finished(run, "examples of its units are available")
    length = 1 if request.kind is UnitKind.LAYER else 2
    if len(request.unit) != length:
        raise NotFound(f"A {request.kind.value} has {length} indices, not {len(request.unit)}.")
    Deactivation.of({request.kind: [request.unit]}).check(UnitShapes.from_dict(run.shapes, run.layout.ragged))
    look_id = "-".join([run.id, request.kind.value, *map(str, request.unit)])
    cache = services.result_caches.unit_examples
    try:
        result = cache.get(look_id)
        if result.status is not Status.FAILED:
            return result
    except NotFound:
        pass  # not requested yet
    pending = UnitExamples(id=look_id, status=Status.QUEUED, run=run.id, kind=request.kind, unit=request.unit)
    cache.save(look_id, pending)
    services.queues.enqueue_unit_examples(look_id)
    return pending


@router.get("/runs/{run_id}/unit-examples/{look_id}", tags=["runs"])
def get_unit_examples(run: Annotated[Run, Depends(get_run)], look_id: str, services: ServicesDep) -> UnitExamples:
    """Return the result, complete once `status` is done; it is kept for an hour."""
    result = services.result_caches.unit_examples.get(look_id)
    if result.run != run.id:
        raise NotFound(f"Run {run.id} has no unit examples {look_id!r}.")
    return result
