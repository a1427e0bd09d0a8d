"""Routes of what maps are used for: make, list, watch, cancel and delete derived models and reports; predict sizes."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from backend.queue.connections import undo_if_redis_is_down
from backend.store.derived_records import REPORTS
from backend.web.access.callers import IdentityDep, refuse_others
from backend.web.access.rates import refuse_too_much_work
from backend.web.bodies import BodyRoute
from backend.web.dependencies import Services, ServicesDep
from backend.web.finished_runs import finished
from modelshapley.contracts import Run, Status
from modelshapley.contracts.applications.derived import Derived, DerivedRequest, SizePrediction, SizeRequest
from modelshapley.contracts.applications.requests import QuantiseRequest, UnitsRequest, UseRequest
from modelshapley.errors import Conflict, NotFound, UnknownName
from modelshapley.methods import canonical
from modelshapley.units import UnitKind, UnitShapes

router = APIRouter(prefix="/derived", tags=["derived models"], route_class=BodyRoute)


@router.post("", status_code=202)
def derive_model(
    request: Annotated[UseRequest, Body()], services: ServicesDep, identity: IdentityDep, response: Response
) -> Derived:
    """Queue a use of a finished run's map: a smaller, fine-tuned or quantised model, or a report on units.

    A model becomes `derived:<name>`, a model as any other.
    """
    refuse_too_much_work(services, identity)
    run = finished(services.records.run(request.run), "its maps can be used")
    _check_units(run, request)
    if request.use not in REPORTS and (services.catalog.derived_root / str(request.name)).exists():
        raise Conflict(f"There is a derived model {request.name!r} already; choose another name, or delete that one.")
    services.queues.ping()
    derived = services.records.add_derived(request, run, identity.name)
    with undo_if_redis_is_down(lambda: services.records.drop_derived(derived.id)):
        services.queues.enqueue_derive(derived.id, derived.owner)
    services.records.audit(identity.name, "derive_model", derived.id)
    response.headers["Location"] = f"/api/v1/derived/{derived.id}"
    return derived


def _check_units(run: Run, request: UseRequest) -> None:
    """Raise ModelShapleyError for units, kinds of unit or a method that the run does not have."""
    if isinstance(request, QuantiseRequest):
        return
    named = request.off if isinstance(request, DerivedRequest) else request.units
    if named is not None:
        named.deactivation().check(UnitShapes.from_dict(run.shapes, run.layout.ragged))
    if request.method is not None:
        _check_method(run, request.method)
    for kind in (isinstance(request, UnitsRequest) and request.most) or ():
        _check_kind(run, kind)


@router.get("")
def list_derived(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    run: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
) -> list[Derived]:
    """List derived models and reports, newest first, those in the making included. `run`: only those of this run."""
    return services.records.all_derived(limit, run)


@router.post("/sizes", status_code=202)
def request_size(request: SizeRequest, services: ServicesDep) -> SizePrediction:
    """Have a worker predict the size of a model without a share of its parameters, to the byte; kept for an hour."""
    run = finished(services.records.run(request.run), "its maps can be used")
    _check_method(run, request.method)
    _check_kind(run, request.unit)
    identifier = hashlib.sha256(request.model_dump_json().encode()).hexdigest()[:16]
    try:
        result = services.result_caches.sizes.get(identifier)
        if result.status is not Status.FAILED:
            return result
    except NotFound:
        pass  # not requested yet
    pending = SizePrediction(id=identifier, status=Status.QUEUED, request=request)
    services.result_caches.sizes.save(identifier, pending)
    services.queues.enqueue_size(identifier)
    return pending


@router.get("/sizes/{size_id}")
def get_size(size_id: str, services: ServicesDep) -> SizePrediction:
    """Return a prediction, complete once `status` is done; it is kept for an hour."""
    return services.result_caches.sizes.get(size_id)


@router.get("/{derived_id}")
def get_derived(derived_id: str, services: ServicesDep) -> Derived:
    return services.records.derived(derived_id)


@router.delete("/{derived_id}")
def delete_derived(derived_id: str, services: ServicesDep, identity: IdentityDep) -> Derived:
    """Cancel a derived model or report that is queued or being made; delete one that has ended, with its folder.

    One that runs use is not deleted. The answer is what was cancelled or deleted.
    """
    derived = services.records.derived(derived_id)
    refuse_others(identity, derived)
    done = _cancel_or_delete(services, derived)
    services.records.audit(identity.name, "delete_derived", derived_id)
    return done


def _cancel_or_delete(services: Services, derived: Derived) -> Derived:
    cancelled = services.records.update_derived(derived.id, status=Status.CANCELLED)
    if cancelled is not None:
        return cancelled
    if derived.status is Status.DONE and derived.model is not None and derived.model in services.catalog.ids():
        services.records.check_unused_model(derived.model)
        services.catalog.delete(derived.model)
    services.records.drop_derived(derived.id)
    return derived


def _check_method(run: Run, method: str) -> None:
    """Raise UnknownName unless the run has a map by this method."""
    if canonical(method) not in run.methods:
        raise UnknownName("method in this run", method, run.methods)


def _check_kind(run: Run, kind: UnitKind) -> None:
    """Raise UnknownName unless the run has maps of this kind of unit."""
    if kind not in run.units:
        raise UnknownName("unit kind in this run", kind.value, [known.value for known in run.units])
