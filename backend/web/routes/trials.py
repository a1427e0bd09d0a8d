"""Routes to measure the accuracy under a deactivation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Header, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.queue.connections import REDIS_DOWN, undo_if_redis_is_down
from backend.queue.leases import Leases
from backend.queue.waiting import with_waiting
from backend.web.access.callers import IdentityDep
from backend.web.access.rates import refuse_too_much_work
from backend.web.bodies import BodyRoute
from backend.web.dependencies import Services, ServicesDep
from backend.web.finished_runs import finished
from backend.web.maps import load_map
from backend.web.routes.stream import follow, reserve_stream
from modelshapley.contracts import Run, Status, Trial, TrialRequest
from modelshapley.errors import Damaged, NotFound
from modelshapley.units import Deactivation, UnitShapes, extreme_units

router = APIRouter(prefix="/trials", tags=["trials"], route_class=BodyRoute)


@router.post("", status_code=202)
def submit_trial(request: TrialRequest, services: ServicesDep, identity: IdentityDep, response: Response) -> Trial:
    """Queue a trial; the result of an equal one, for any run or user, is returned at once."""
    run = finished(services.records.run(request.run), "units can be switched off")
    deactivation = _deactivation(request, run, services)
    deactivation.check(UnitShapes.from_dict(run.shapes, run.layout.ragged))
    if deactivation.treatment.needs_pairs:  # other treatments do not depend on the task, which may be deleted by now
        services.tasks.info(run.task).check_treatment(deactivation.treatment)
    services.queues.ping()
    if request.session is not None:
        _supersede(request.session, services)
    refuse_too_much_work(services, identity)
    predicted = predict(services, run, deactivation)
    trial = services.records.request_trial(
        run.id, deactivation, request.session, request.half_width, predicted, identity.name, request.lease
    )
    if not trial.status.ended:
        with undo_if_redis_is_down(lambda: services.records.drop_trial(trial.id)):
            Leases(services.queues.redis).begin(trial.id)
            services.queues.enqueue_trial(trial.id, run.model, owner=trial.owner)
    response.headers["Location"] = f"/api/v1/trials/{trial.id}"
    return trial


@router.get("/{trial_id}")
def get_trial(trial_id: str, services: ServicesDep) -> Trial:
    """Return a trial, with what it waits for while it is queued."""
    return _state(services, trial_id)


@router.get("/{trial_id}/events", response_class=EventSourceResponse, dependencies=[Depends(reserve_stream)])
async def stream_trial_events(
    trial: Annotated[Trial, Depends(get_trial)],
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d+-\d+$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream server-sent events `progress` and `status`; the data of each is the trial at that time."""
    async for event in follow(services.events, "trial", trial.id, lambda: _state(services, trial.id), last_event_id):
        yield event


def predict(services: Services, run: Run, deactivation: Deactivation) -> dict[str, float]:
    """Predict the effect of a deactivation from each of the run's maps, in its quantity: the sum of the units' scores.

    For scaled units the sum is multiplied by what is taken away, 1 minus the factor. Scores predict nothing for means
    and offsets, or for kinds of unit that the run has not scored.
    """
    kinds = [kind for kind, _ in deactivation.units]
    treatment = deactivation.treatment
    if treatment.how != "scale" or not set(kinds) <= set(run.units):
        return {}
    predictions = {}
    for method in run.methods:
        try:
            scores = load_map(services, run, method, run.units[0]).scores
        except (
            NotFound,
            Damaged,
        ):  # which the map's page reports; trials do not depend on it
            continue
        total = sum(float(scores[kind][tuple(np.array(units).T)].sum()) for kind, units in deactivation.units)
        predictions[method] = (1 - treatment.value) * total
    return predictions


def _state(services: Services, trial_id: str) -> Trial:
    trial = services.records.trial(trial_id)
    try:
        return with_waiting(services.records, services.queues, trial)
    except REDIS_DOWN:  # the record still answers
        return trial


def _deactivation(request: TrialRequest, run: Run, services: Services) -> Deactivation:
    if request.off is not None:
        return request.off.deactivation(request.treatment)
    # The contract requires all four if `off` is missing.
    assert request.method is not None
    assert request.unit is not None
    assert request.which is not None
    assert request.fraction is not None
    scores = load_map(services, run, request.method, request.unit).scores[request.unit]
    ranked = extreme_units(scores, request.unit, request.which, request.fraction)
    return replace(ranked, treatment=request.treatment)


def _supersede(session: str, services: Services) -> None:
    for older in services.records.open_trials(session):
        cancelled = services.updates.update_trial(
            older, "status", status=Status.CANCELLED, error="superseded by a newer trial of the same session"
        )
        if cancelled is not None:
            services.queues.withdraw("trial", older, services.records.run(cancelled.run).model)
