"""What routes are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from backend.asked import Asked
from backend.fetches import Fetches
from backend.queues import Events, Queues
from backend.records import Records
from backend.settings import Settings
from backend.storage import Storage
from backend.uploads import Uploads
from modelshapley.catalog import Catalog
from modelshapley.tasks.catalog import TaskCatalog


@dataclass(frozen=True)
class Rooms:
    """Everything the API holds while it runs."""

    records: Records
    queues: Queues
    events: Events
    storage: Storage
    catalog: Catalog
    tasks: TaskCatalog
    asked: Asked
    fetches: Fetches
    settings: Settings
    uploads: Uploads


def _rooms(request: Request) -> Rooms:
    rooms: Rooms = request.app.state.rooms
    return rooms


Here = Annotated[Rooms, Depends(_rooms)]
