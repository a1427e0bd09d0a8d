"""Dependencies of the routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from backend.queue.event_streams import Events
from backend.queue.fetches import Fetches
from backend.queue.prompts import Prompts
from backend.queue.queues import Queues
from backend.queue.result_cache import ResultCaches
from backend.queue.updates import Updates
from backend.queue.watched_runs import WatchedRuns
from backend.settings import Settings
from backend.store.files import Storage
from backend.store.records import Records
from backend.store.uploading.datasets import DataUploads
from backend.store.uploading.models import Uploads
from modelshapley.models.catalog import Catalog
from modelshapley.tasks.catalog import TaskCatalog


@dataclass(frozen=True)
class Services:
    """Connections and catalogues that the API holds while it runs."""

    records: Records
    queues: Queues
    events: Events
    storage: Storage
    catalog: Catalog
    tasks: TaskCatalog
    result_caches: ResultCaches
    fetches: Fetches
    settings: Settings
    uploads: Uploads
    data_uploads: DataUploads

    @property
    def updates(self) -> Updates:
        """Record and publish changes of runs and trials."""
        return Updates(self.records, self.queues)

    @property
    def watched(self) -> WatchedRuns:
        """Runs that somebody watches while they are scored."""
        return WatchedRuns(self.queues.redis)

    @property
    def prompts(self) -> Prompts:
        """Prompts by hand of the last hour."""
        return Prompts(self.queues.redis)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]
