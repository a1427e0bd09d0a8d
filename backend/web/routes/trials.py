"""Measure the accuracy under a deactivation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Header, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.queue.queues import undo_if_redis_is_down
from backend.web.dependencies import Services, ServicesDep
from backend.web.maps import load_map
from backend.web.routes.stream import follow
from modelshapley.contracts import Run, Status, Trial, TrialRequest
from modelshapley.errors import Conflict, NotFound
from modelshapley.units import Deactivation, UnitShapes, extreme_units

router = APIRouter(prefix="/trials", tags=["trials"])


@router.post("", status_code=202)
def submit(request: TrialRequest, services: ServicesDep, response: Response) -> Trial:
    """Queue a trial; an equal one that was measured before, for whatever run or person, is answered at once."""
    run = services.records.run(request.run)
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run.id} is {run.status.value}; units can be switched off once it is done.")
    if run.deleted is not None:
        raise Conflict(f"Run {run.id} was deleted; bring it back first (DELETE /api/v1/runs/{run.id}/deleted).")
    deactivation = _deactivation(request, run, services)
    deactivation.check(UnitShapes.from_dict(run.shapes, run.layout.ragged))
    services.queues.ping()
    if request.session is not None:
        _supersede(request.session, services)
    predicted = prediction(services, run, deactivation)
    trial = services.records.ask_trial(run.id, deactivation, request.session, request.half_width, predicted)
    if not trial.status.ended:
        with undo_if_redis_is_down(lambda: services.records.drop_trial(trial.id)):
            services.queues.enqueue_trial(trial.id, run.model)
    response.headers["Location"] = f"/api/v1/trials/{trial.id}"
    return trial


@router.get("/{trial_id}")
def one(trial_id: str, services: ServicesDep) -> Trial:
    return services.records.trial(trial_id)


@router.get("/{trial_id}/events", response_class=EventSourceResponse)
async def events(
    trial: Annotated[Trial, Depends(one)],
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d+-\d+$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events `progress` and `status`; the data of each is the trial as it is then."""
    async for event in follow(
        services.events, "trial", trial.id, lambda: services.records.trial(trial.id), last_event_id
    ):
        yield event


def prediction(services: Services, run: Run, deactivation: Deactivation) -> dict[str, float]:
    """What each of the run's maps says that these units carry together, in its quantity: the sum of their scores.

    Of a scaled unit what is taken from it, 1 minus the factor; means and offsets are no part of what scores say,
    and a method that has not scored all the kinds has no say either.
    """
    kinds = [kind for kind, _ in deactivation.units]
    how = deactivation.treatment
    if how.how != "scale" or not set(kinds) <= set(run.units):
        return {}
    found = {}
    for method in run.methods:
        try:
            scores = load_map(services, run, method, run.units[0]).scores
        except NotFound:  # its file is gone, as the map's page says; what is measured does not hang on it
            continue
        carried = sum(float(scores[kind][tuple(np.array(units).T)].sum()) for kind, units in deactivation.units)
        found[method] = (1 - how.value) * carried
    return found


def _deactivation(request: TrialRequest, run: Run, services: Services) -> Deactivation:
    if request.off is not None:
        return request.off.deactivation(request.treatment)
    # The contract holds that all four are given when `off` is not.
    assert request.method is not None
    assert request.unit is not None
    assert request.which is not None
    assert request.fraction is not None
    scores = load_map(services, run, request.method, request.unit).scores[request.unit]
    ranked = extreme_units(scores, request.unit, request.which, request.fraction)
    return replace(ranked, treatment=request.treatment)


def _supersede(session: str, services: Services) -> None:
    for older in services.records.open_trials(session):
        services.updates.update_trial(
            older, "status", status=Status.CANCELLED, error="superseded by a newer trial of the same session"
        )
