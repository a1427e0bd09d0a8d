"""The REST API as a FastAPI application."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Depends, FastAPI
from fastapi_offline import FastAPIOffline

from backend.queue.connections import REDIS_DOWN, connect, connect_async
from backend.queue.event_streams import Events
from backend.queue.fetches import Fetches
from backend.queue.pending_jobs import pending_jobs
from backend.queue.queues import Queues
from backend.queue.result_cache import ResultCaches
from backend.settings import Settings
from backend.store.files import Storage
from backend.store.records import Records
from backend.store.schema import migrate
from backend.store.uploading.datasets import DataUploads
from backend.store.uploading.models import Uploads
from backend.web import problems, reference
from backend.web.access.callers import require_scope
from backend.web.dependencies import Services
from backend.web.openapi import HeadAsGet, describe_errors
from backend.web.routes import about, datasets, derived, details, groups, keys, prompts, runs, tasks, trials, uploads
from modelshapley import __version__
from modelshapley.models.catalog import Catalog
from modelshapley.tasks.catalog import TaskCatalog

log = logging.getLogger(__name__)


def open_services(settings: Settings) -> Services:
    """Migrate the database and connect to everything that the API needs."""
    migrate(settings.records_url)
    redis_url = settings.redis_url.get_secret_value()
    records, redis = Records(settings.records_url), connect(redis_url)
    catalog = Catalog(settings.data, settings.model_roots, settings.hub)
    tasks = TaskCatalog(settings.dataset_folders, records.tasks)
    return Services(
        records=records,
        queues=Queues(redis, settings.lost_after_seconds),
        events=Events(connect_async(redis_url)),
        storage=Storage(settings.maps_url),
        catalog=catalog,
        tasks=tasks,
        result_caches=ResultCaches(redis),
        fetches=Fetches(redis),
        settings=settings,
        uploads=Uploads(catalog, settings.max_upload_bytes, settings.max_body_bytes),
        data_uploads=DataUploads(tasks.roots[0], settings.data_limits, settings.max_body_bytes),
    )


def create_api(services: Services) -> FastAPI:
    """Create the application, to be mounted at /api."""
    # FastAPIOffline serves the scripts of the reference pages itself: FastAPI's own pages load them from a CDN.
    api = FastAPIOffline(
        docs_url=None,
        title="Model Shapley",
        version=__version__,
        description="Score the neurons, heads and layers of a transformer, switch them off, watch accuracy move.",
    )
    api.state.services = services
    problems.install(api)
    reference.install(api)
    api_v1 = APIRouter(prefix="/v1", dependencies=[Depends(require_scope)])
    routers = (about, tasks, runs, trials, prompts, groups, details, derived, uploads, datasets, keys)
    for router in (module.router for module in routers):
        api_v1.include_router(router)
    api.include_router(api_v1)
    describe_errors(api)
    api.add_middleware(HeadAsGet)
    return api


def requeue_unfinished(services: Services) -> None:
    """Queue again the unfinished work that Redis has lost (because it was wiped, say)."""
    try:
        for enqueue in pending_jobs(services.records, services.queues).values():
            enqueue()
    except REDIS_DOWN as error:
        log.warning("Redis does not respond yet; unfinished work is not queued again: %s", error)


async def close_services(services: Services) -> None:
    """Close the connections."""
    services.data_uploads.close()
    services.records.close()
    services.queues.redis.close()
    await services.events.redis.aclose()
