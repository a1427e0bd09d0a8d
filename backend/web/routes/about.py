"""Routes that describe the server: health, limits, models, methods, workers."""

from __future__ import annotations

import shutil
from typing import Annotated

from fastapi import APIRouter, Query

from backend.queue.waiting import with_time_left
from backend.web.access.callers import IdentityDep
from backend.web.bodies import BodyRoute
from backend.web.dependencies import Services, ServicesDep
from modelshapley import __version__
from modelshapley.architectures.families import describe_families
from modelshapley.contracts import (
    ArchitectureInfo,
    Failure,
    Health,
    Limits,
    MethodInfo,
    ModelInfo,
    QueueInfo,
    WorkerInfo,
)
from modelshapley.errors import Damaged
from modelshapley.formatting import bytes_as_text, duration
from modelshapley.methods import METHODS
from modelshapley.models.catalog import HUB
from modelshapley.models.upload_files import ALLOWED_NAMES
from modelshapley.tasks.uploaded.names import SUFFIXES

MIN_FREE_BYTES = 64 * 2**20  # with less, checkpoints and records fail soon
router = APIRouter(tags=["about"], route_class=BodyRoute)


@router.get("/health")
def get_health(services: ServicesDep) -> Health:
    """Return 200 if Redis and the database respond, else 503. `problem` says why work waits ('degraded')."""
    services.queues.ping()
    services.records.ping()
    workers = len(services.queues.workers())
    problem = _problem(services, workers)
    return Health(
        status="degraded" if problem else "ok",
        problem=problem,
        redis=True,
        database=True,
        workers=workers,
        version=__version__,
    )


def _problem(services: Services, workers: int) -> str | None:
    """Return the reason for which work waits or will fail soon."""
    free = shutil.disk_usage(services.settings.data).free
    if free < MIN_FREE_BYTES:
        return f"The disk of the server is full ({bytes_as_text(free)} are free). Free some space."
    if workers:
        return None
    last = services.queues.last_heard()
    if last is None:
        return "No worker is running, so submitted work waits. Start one with `modelshapley worker`."
    return (
        f"No worker is running: {last[0]} was last heard {duration(last[1])} ago, so it was stopped or killed, or its "
        "machine is overloaded. Submitted work waits. Start one with `modelshapley worker`."
    )


@router.get("/limits")
def get_limits(services: ServicesDep) -> Limits:
    """Return the limits of this server, for clients that validate input."""
    return Limits(
        max_body_bytes=services.settings.max_body_bytes,
        max_upload_bytes=services.settings.max_upload_bytes,
        upload_files=list(ALLOWED_NAMES),
        max_data_bytes=services.settings.max_data_bytes,
        max_data_rows=services.settings.max_data_rows,
        data_files=list(SUFFIXES),
        deleted_kept_hours=services.settings.deleted_kept_hours,
        hub=services.settings.hub,
    )


@router.get("/models")
def list_models(services: ServicesDep) -> list[ModelInfo]:
    """List the demo and local models; those that cannot be used say why."""
    return [services.catalog.describe(model_id) for model_id in services.catalog.ids()]


@router.get("/models/hub")
def get_hub_model(
    name: Annotated[str, Query(max_length=200, examples=["OWNER/NAME@main"])], services: ServicesDep
) -> ModelInfo:
    """Describe a model of the Hugging Face hub, OWNER/NAME or OWNER/NAME@REVISION, from config and file headers.

    Its `id` names the current commit of the revision. A worker fetches the weights once they are needed.
    """
    model_id = services.catalog.pin(HUB + name)
    services.catalog.anatomy(model_id)  # raises where describe would only note it
    return services.catalog.describe(model_id)


@router.delete("/models/{model_id}", status_code=204)
def delete_model(model_id: str, services: ServicesDep, identity: IdentityDep) -> None:
    """Delete an uploaded model, `local:<name>`, that no run uses. Needs the scope `admin`."""
    services.catalog.known(model_id)
    services.records.check_unused_model(model_id)
    services.catalog.delete(model_id)
    services.records.audit(identity.name, "delete_model", model_id)


@router.get("/architectures")
def list_architectures() -> list[ArchitectureInfo]:
    """List the supported families of models; models of other families are tried by their structure."""
    return describe_families()


@router.get("/methods")
def list_methods() -> list[MethodInfo]:
    return list(METHODS.values())


@router.get("/queues")
def list_queues(services: ServicesDep) -> list[QueueInfo]:
    """List the queues with their number of waiting jobs."""
    return [QueueInfo(name=name, waiting=waiting) for name, waiting in services.queues.lengths().items()]


@router.get("/failures")
def list_failures(services: ServicesDep, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> list[Failure]:
    """List recent failures of runs, trials and checks of maps, newest first."""
    return [_with_reason(services, failure) for failure in services.records.failures(limit)]


def _with_reason(services: Services, failure: Failure) -> Failure:
    """Add the reason of a failed check from its run's report."""
    if failure.kind != "check":
        return failure
    try:
        report = services.storage.load_report(failure.run)
    except Damaged as error:
        return failure.model_copy(update={"error": str(error)})
    return failure.model_copy(update={"error": (report and report.error) or failure.error})


@router.get("/workers")
def list_workers(services: ServicesDep) -> list[WorkerInfo]:
    """List the live workers with their current jobs, since when, and the time left of runs."""
    return with_time_left(services.records, services.queues.workers())
