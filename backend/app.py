"""The REST API as one FastAPI application."""

from __future__ import annotations

import logging

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline

from backend import problems
from backend.asked import Asked
from backend.deps import Rooms
from backend.fetches import Fetches
from backend.open_work import open_work
from backend.queues import REDIS_DOWN, Events, Queues, connect, connect_async
from backend.records import Records
from backend.routes import about, details, groups, runs, tasks, trials, uploads
from backend.schema import migrate
from backend.settings import Settings
from backend.storage import Storage
from backend.uploads import Uploads
from modelshapley import __version__
from modelshapley.catalog import Catalog
from modelshapley.tasks.catalog import TaskCatalog

log = logging.getLogger(__name__)


def open_rooms(settings: Settings) -> Rooms:
    """Connect to everything the API needs; migrates the database."""
    migrate(settings.records_url)
    redis_url = settings.redis_url.get_secret_value()
    records, redis = Records(settings.records_url), connect(redis_url)
    catalog = Catalog(settings.data, settings.model_roots, settings.hub)
    return Rooms(
        records=records,
        queues=Queues(redis),
        events=Events(connect_async(redis_url)),
        storage=Storage(settings.maps_url),
        catalog=catalog,
        tasks=TaskCatalog(settings.dataset_folders, records.tasks),
        asked=Asked(redis),
        fetches=Fetches(redis),
        settings=settings,
        uploads=Uploads(catalog, settings.max_upload_bytes, settings.max_body_bytes),
    )


def create_api(rooms: Rooms) -> FastAPI:
    """The application to be mounted at /api."""
    # Its reference pages come from here, too: FastAPI's own load their scripts from elsewhere.
    api = FastAPIOffline(
        title="Model Shapley",
        version=__version__,
        description="Score the neurons, heads and layers of a transformer, switch them off, watch accuracy move.",
    )
    api.state.rooms = rooms
    problems.install(api)
    version_1 = APIRouter(prefix="/v1")
    routers = (about, tasks, runs, trials, groups, details, uploads)
    for router in (module.router for module in routers):
        version_1.include_router(router)
    api.include_router(version_1)
    return api


def requeue_unfinished(rooms: Rooms) -> None:
    """Queue again what the records call unfinished but Redis has lost (it was wiped, say)."""
    try:
        for queue in open_work(rooms.records, rooms.queues).values():
            queue()
    except REDIS_DOWN as error:
        log.warning("Redis does not answer yet, unfinished work is not looked at: %s", error)


async def close_rooms(rooms: Rooms) -> None:
    rooms.records.close()
    rooms.queues.redis.close()
    await rooms.events.redis.aclose()
