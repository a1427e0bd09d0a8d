"""Storage of maps and sums as files behind fsspec: a local directory, or an object store by URL."""

from __future__ import annotations

import uuid
from contextlib import suppress
from functools import lru_cache
from urllib.parse import quote

import fsspec

from modelshapley.contracts import Faithfulness
from modelshapley.errors import NotFound
from modelshapley.maps.importance import ImportanceMap

MAX_CACHED_MAPS = 8


class Storage:
    """Storage of runs' files under one URL. File names are generated here, never taken from a request."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)
        # Safe to cache: a map never changes once it can be requested.
        self.load_map = lru_cache(MAX_CACHED_MAPS)(self._load_map)

    def save_map(self, run_id: str, importance_map: ImportanceMap, label: str | None = None) -> None:
        """Save a map. label: the class whose map it is; None for the map of all examples."""
        self._write(self._map(run_id, importance_map.method, label), importance_map.to_bytes())

    def _load_map(self, run_id: str, method: str, label: str | None = None) -> ImportanceMap:
        """Load a map. Raises NotFound."""
        data = self._read(self._map(run_id, method, label))
        if data is None:
            raise NotFound(f"The map of run {run_id} by {method} is not in the storage any more.")
        return ImportanceMap.from_bytes(data)

    def save_sums(self, run_id: str, shard: int, sums: bytes) -> None:
        """Save the checkpoint of a shard, or its final sums; an undivided run is shard 1."""
        self._write(self._sums(run_id, shard), sums)

    def load_sums(self, run_id: str, shard: int) -> bytes | None:
        return self._read(self._sums(run_id, shard))

    def drop_sums(self, run_id: str) -> None:
        """Remove the sums of all shards, with the partial files of killed writers."""
        self._files.invalidate_cache()  # cached listings are outdated: other workers write here too
        for path in self._files.glob(f"{self._root}/runs/{run_id}/sums-*"):
            with suppress(FileNotFoundError):  # another worker of the same run removed it first
                self._files.rm(path)

    def drop_run(self, run_id: str) -> None:
        """Remove all files of a run permanently, if there are any."""
        with suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/runs/{run_id}", recursive=True)
        self.load_map.cache_clear()

    def save_intact(self, run_id: str, answers: bytes) -> None:
        """Save the intact model's outcomes on the test examples (modelshapley.evaluation.intervals.pack)."""
        self._write(self._intact(run_id), answers)

    def load_intact(self, run_id: str) -> bytes | None:
        """Load the intact model's outcomes; None for runs older than this file."""
        return self._read(self._intact(run_id))

    def save_report(self, report: Faithfulness) -> None:
        self._write(self._report(report.run), report.model_dump_json().encode())

    def load_report(self, run_id: str) -> Faithfulness | None:
        """Load a report; None for runs older than reports."""
        data = self._read(self._report(run_id))
        return None if data is None else Faithfulness.model_validate_json(data)

    def _intact(self, run_id: str) -> str:
        return f"{self._root}/runs/{run_id}/intact.npy"

    def _report(self, run_id: str) -> str:
        return f"{self._root}/runs/{run_id}/faithfulness.json"

    def _map(self, run_id: str, method: str, label: str | None) -> str:
        folder = "" if label is None else f"class-{quote(label, safe='')}/"
        return f"{self._root}/runs/{run_id}/{folder}{method}.safetensors"

    def _sums(self, run_id: str, shard: int) -> str:
        return f"{self._root}/runs/{run_id}/sums-{shard}.safetensors"

    def _write(self, path: str, data: bytes) -> None:
        """Write a file atomically: a reader never sees half a file, and two writers never share one."""
        part = f"{path}.{uuid.uuid4().hex[:8]}.part"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(part, data)
        self._files.mv(part, path)

    def _read(self, path: str) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return data
