"""Single examples: what a trial flipped, and on which ones a unit does most. A worker looks; kept for an hour."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from backend.web.dependencies import ServicesDep
from backend.web.routes.runs import one as run_of
from backend.web.routes.trials import one as trial_of
from modelshapley.contracts import Run, Status, Trial
from modelshapley.contracts.examples import TrialDetails, UnitExamples, UnitExamplesRequest
from modelshapley.errors import Conflict, NotFound
from modelshapley.units import Deactivation, UnitKind, UnitShapes

router = APIRouter()


@router.post("/trials/{trial_id}/details", status_code=202, tags=["trials"])
def look_behind(trial: Annotated[Trial, Depends(trial_of)], services: ServicesDep) -> TrialDetails:
    """Have a worker tell the accuracy of each class before and after, and which examples flipped."""
    if trial.status is not Status.DONE:
        raise Conflict(f"Trial {trial.id} is {trial.status.value}; its examples can be looked at once it is done.")
    kept = services.result_caches.details
    try:
        found = kept.get(trial.id)
        if found.status is not Status.FAILED:
            return found
    except NotFound:
        pass  # nobody has asked yet
    details = TrialDetails(trial=trial.id, status=Status.QUEUED)
    kept.save(trial.id, details)
    services.queues.enqueue_details(trial.id)
    return details


@router.get("/trials/{trial_id}/details", tags=["trials"])
def behind(trial: Annotated[Trial, Depends(trial_of)], services: ServicesDep) -> TrialDetails:
    """What has been found, once `status` is done; kept for an hour."""
    return services.result_caches.details.get(trial.id)


@router.post("/runs/{run_id}/unit-examples", status_code=202, tags=["runs"])
def look_at_unit(
    request: UnitExamplesRequest, run: Annotated[Run, Depends(run_of)], services: ServicesDep
) -> UnitExamples:
    """Have a worker find the scored examples on which a unit does most, and where in them it does it."""
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run.id} is {run.status.value}; its units can be looked at once it is done.")
    wanted = 1 if request.kind is UnitKind.LAYER else 2
    if len(request.unit) != wanted:
        raise NotFound(f"A {request.kind.value} has {wanted} indices, not {len(request.unit)}.")
    Deactivation.of({request.kind: [request.unit]}).check(UnitShapes.from_dict(run.shapes, run.layout.ragged))
    look_id = "-".join([run.id, request.kind.value, *map(str, request.unit)])
    kept = services.result_caches.unit_examples
    try:
        found = kept.get(look_id)
        if found.status is not Status.FAILED:
            return found
    except NotFound:
        pass  # nobody has asked yet
    look = UnitExamples(id=look_id, status=Status.QUEUED, run=run.id, kind=request.kind, unit=request.unit)
    kept.save(look_id, look)
    services.queues.enqueue_unit_examples(look_id)
    return look


@router.get("/runs/{run_id}/unit-examples/{look_id}", tags=["runs"])
def at_unit(run: Annotated[Run, Depends(run_of)], look_id: str, services: ServicesDep) -> UnitExamples:
    """What has been found, once `status` is done; kept for an hour."""
    found = services.result_caches.unit_examples.get(look_id)
    if found.run != run.id:
        raise NotFound(f"Run {run.id} has no look {look_id!r} at a unit.")
    return found
