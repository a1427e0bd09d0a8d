"""One use of a map in a worker: its steps, progress and time left, its units, and whether it is still wanted."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from backend.store.derived_records import Chosen
from modelshapley.applications.folder import INFO, read_info
from modelshapley.applications.selection import merged
from modelshapley.contracts import Off
from modelshapley.contracts.applications.derived import Derived
from modelshapley.contracts.applications.made_from import MadeFromParent
from modelshapley.errors import Conflict
from modelshapley.maps.importance import ImportanceMap
from workers.context import WorkerContext

LOOK_EVERY_S = 0.5
RECORD_EVERY_S = 0.2  # steps of small models are shorter than a write to the records
TEMPORARY = "?" * 8  # what mkdtemp puts behind the name of a folder
Info = TypeVar("Info", bound=MadeFromParent)


class Cancelled(Exception):
    """The result is not wanted any more."""


@dataclass
class Pace:
    """How fast a count grows, from the first one that this process has seen."""

    began: float
    first: int

    def seconds_left(self, done: int, total: int) -> float | None:
        """Return the seconds left; None before anything was done."""
        if done <= self.first:
            return None
        return (time.monotonic() - self.began) / (done - self.first) * (total - done)


class UseJob:
    """What every use of a map needs while a worker is at it. Its methods raise Cancelled."""

    def __init__(self, context: WorkerContext, derived: Derived) -> None:
        self.context, self.derived = context, derived
        self.run = context.records.run(derived.run)
        self.folder = context.settings.data / "derived" / derived.name
        self._looked = self._recorded = 0.0
        self._pace: Pace | None = None

    def step(self, text: str) -> None:
        """Record what is done now, without a count."""
        self._pace = None
        self._update(step=text, eta_s=None)

    def count(self, text: str, done: int, total: int) -> None:
        """Record how much of what is done now is done, and estimate the time left."""
        self._pace = self._pace or Pace(time.monotonic(), done)
        if time.monotonic() - self._recorded < RECORD_EVERY_S and done < total:
            return
        self._recorded = time.monotonic()
        self._update(step=text, done=done, total=total, eta_s=self._pace.seconds_left(done, total))

    def _update(self, **values: object) -> None:
        if self.context.records.update_derived(self.derived.id, **values) is None:
            raise Cancelled

    def pause(self) -> None:
        """Let trials go first, and stop if this is not wanted any more. Called when nothing hooks the warm model."""
        self.context.turns.yield_to_trials()
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        if self.context.records.derived(self.derived.id).status.ended:
            raise Cancelled

    def chosen(self) -> Chosen:
        """Return the units that the request names, or its share of the most important ones, which are then recorded."""
        records = self.context.records
        chosen = records.chosen(self.derived.id)
        if chosen is not None:
            return chosen
        assert self.derived.most is not None
        assert self.derived.method is not None
        ranked = self.context.storage.load_map(self.run.id, self.derived.method)
        units = merged([ranked.most(kind, share) for kind, share in self.derived.most.items()])
        chosen = Chosen(Off.from_deactivation(units), self.derived.method)
        if records.choose(self.derived.id, chosen) is None:
            raise Cancelled
        return chosen

    def map_of(self, chosen: Chosen) -> ImportanceMap | None:
        """Return the map that chose the units, for the record; of a recommendation, only its method and provenance."""
        if chosen.method is None:
            return None
        if chosen.provenance is None:
            return self.context.storage.load_map(self.run.id, chosen.method)
        return ImportanceMap(chosen.method, "", False, {}, {}, chosen.provenance)

    def saved_before(self, kind: type[Info]) -> Info | None:
        """Return what an earlier start of this job saved, and remove what it left half-written.

        Raises Conflict if the folder is that of another derived model.
        """
        for leftover in self.folder.parent.glob(f".{self.folder.name}-{TEMPORARY}"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not self.folder.exists():
            return None
        if _job_of(self.folder) != self.derived.id:
            raise Conflict(
                f"There is a derived model {self.folder.name!r} already; choose another name, or delete that one."
            )
        return read_info(self.folder, kind)


def _job_of(folder: Path) -> str | None:
    """Return the id of the derived model that a folder was saved for; None if no server saved it."""
    try:
        record = json.loads((folder / INFO).read_bytes())
        return str(record.get("job") or record.get("settings", {}).get("derived"))
    except (OSError, ValueError, AttributeError):
        return None
