"""What there is: health, models, methods, workers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

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
from modelshapley.methods import METHODS
from modelshapley.models.catalog import HUB
from modelshapley.models.upload_files import ALLOWED_NAMES

router = APIRouter(tags=["about"])


@router.get("/health")
def health(services: ServicesDep) -> Health:
    """200 when Redis and the database answer ('degraded' while no worker listens), 503 when they do not."""
    services.queues.ping()
    services.records.ping()
    workers = len(services.queues.workers())
    return Health(
        status="ok" if workers else "degraded",
        redis=True,
        database=True,
        workers=workers,
        version=__version__,
    )


@router.get("/limits")
def limits(services: ServicesDep) -> Limits:
    """What this server allows, for those who ask people for something."""
    return Limits(
        max_body_bytes=services.settings.max_body_bytes,
        max_upload_bytes=services.settings.max_upload_bytes,
        upload_files=list(ALLOWED_NAMES),
        deleted_kept_hours=services.settings.deleted_kept_hours,
        hub=services.settings.hub,
    )


@router.get("/models")
def models(services: ServicesDep) -> list[ModelInfo]:
    """Models that can be named in a run; those that cannot be used say why."""
    return [services.catalog.describe(model_id) for model_id in services.catalog.ids()]


@router.get("/models/hub")
def hub_model(
    name: Annotated[str, Query(max_length=200, examples=["OWNER/NAME@main"])], services: ServicesDep
) -> ModelInfo:
    """A model of the Hugging Face hub, OWNER/NAME or OWNER/NAME@REVISION, by its config and heads of its files.

    Its `id` names the commit that the revision is now. A worker fetches the weights once they are needed.
    """
    model_id = services.catalog.pin(HUB + name)
    services.catalog.anatomy(model_id)  # raises where describe would only note it
    return services.catalog.describe(model_id)


@router.get("/architectures")
def architectures() -> list[ArchitectureInfo]:
    """Families of models whose units we know where to find; others are tried by their structure."""
    return describe_families()


@router.get("/methods")
def methods() -> list[MethodInfo]:
    return list(METHODS.values())


@router.get("/queues")
def queues(services: ServicesDep) -> list[QueueInfo]:
    """How many jobs wait for a worker."""
    return [QueueInfo(name=name, waiting=waiting) for name, waiting in services.queues.lengths().items()]


@router.get("/failures")
def failures(services: ServicesDep, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> list[Failure]:
    """What failed lately, newest first: runs, trials, and checks of maps."""
    return [_with_reason(services, failure) for failure in services.records.failures(limit)]


def _with_reason(services: Services, failure: Failure) -> Failure:
    """Of a check: what its run's report says."""
    if failure.kind != "check":
        return failure
    report = services.storage.load_report(failure.run)
    return failure.model_copy(update={"error": (report and report.error) or failure.error})


@router.get("/workers")
def workers(services: ServicesDep) -> list[WorkerInfo]:
    """Workers that are alive, and what each has in hand."""
    return services.queues.workers()
