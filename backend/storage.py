"""Maps and checkpoints as files behind fsspec: a local directory, or an object store by URL."""

from __future__ import annotations

import fsspec

from modelshapley.errors import NotFound
from modelshapley.importance import ImportanceMap


class Storage:
    """Files of runs under one URL. Names are made here, never taken from a request."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)

    def save_map(self, run_id: str, importance_map: ImportanceMap) -> None:
        self._write(self._map(run_id, importance_map.method), importance_map.to_bytes())

    def load_map(self, run_id: str, method: str) -> ImportanceMap:
        """Raises NotFound."""
        data = self._read(self._map(run_id, method))
        if data is None:
            raise NotFound(f"The map of run {run_id} by {method} is not in the storage any more.")
        return ImportanceMap.from_bytes(data)

    def save_checkpoint(self, run_id: str, sums: bytes) -> None:
        self._write(self._checkpoint(run_id), sums)

    def load_checkpoint(self, run_id: str) -> bytes | None:
        return self._read(self._checkpoint(run_id))

    def drop_checkpoint(self, run_id: str) -> None:
        path = self._checkpoint(run_id)
        if self._files.exists(path):
            self._files.rm(path)

    def _map(self, run_id: str, method: str) -> str:
        return f"{self._root}/runs/{run_id}/{method}.safetensors"

    def _checkpoint(self, run_id: str) -> str:
        return f"{self._root}/runs/{run_id}/checkpoint.safetensors"

    def _write(self, path: str, data: bytes) -> None:
        """Whole or not at all: a reader never sees half a file."""
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path + ".part", data)
        self._files.mv(path + ".part", path)

    def _read(self, path: str) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return data
