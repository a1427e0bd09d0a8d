"""Tasks that a worker keeps in memory between jobs, and reads again once their files have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelshapley.contracts.task_files.file import TaskFile
from modelshapley.tasks.base import Task
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.data import folders_of

Stamp = tuple[tuple[str, int, int], ...]


class WarmTasks:
    """Tasks by name. roots, own: as in TaskCatalog."""

    def __init__(self, roots: Sequence[Path], own: Callable[[], Mapping[str, TaskFile]]) -> None:
        self._roots, self._own = roots, own
        self._catalog = self.new()
        self._stamps: dict[str, Stamp] = {}

    def new(self) -> TaskCatalog:
        """Return a catalogue that has read nothing yet."""
        return TaskCatalog(self._roots, self._own)

    def load(self, name: str) -> Task[Any]:
        """Return a task with its examples as first read. Raises UnknownName."""
        spec = self._catalog.file(name)
        if spec is not None:
            self._stamps.setdefault(spec.model_dump_json(), self._stamp(spec))
        return self._catalog.load(name)

    def fresh(self, name: str) -> Task[Any]:
        """Return a task with its current examples. Raises UnknownName."""
        spec = self._catalog.file(name)
        if spec is not None and self._stamps.get(spec.model_dump_json()) != self._stamp(spec):
            self._catalog, self._stamps = self.new(), {}
        return self.load(name)

    def _stamp(self, spec: TaskFile) -> Stamp:
        """Return names, sizes and times of the files: equal stamps mean unchanged files, without reading them."""
        places = folders_of(spec.source, spec.name, self._roots)
        files = [file for place in places for file in _files(place)]
        return tuple((str(file), stat.st_size, stat.st_mtime_ns) for file in files if (stat := file.stat()))


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif place.is_dir():
        yield from sorted(file for file in place.rglob("*") if file.is_file())
