"""Storage of maps and sums as files behind fsspec: a local directory, or an object store by URL."""

from __future__ import annotations

import errno
import hashlib
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from urllib.parse import quote

import fsspec

from modelshapley.contracts import Faithfulness
from modelshapley.errors import Damaged, ModelShapleyError, NotFound
from modelshapley.maps.importance import ImportanceMap

MAX_CACHED_MAPS = 8
MARK = b"modelshapley-sha256:"  # the end of a file: MARK, and the digest of its name and content
DIGEST_BYTES = 32
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}  # an object appears whole or not at all
SCORE_AGAIN = "Submit the run again; its scores will be the same."
CHECK_AGAIN = "Check the run's maps again (POST .../faithfulness); the report will be the same."
log = logging.getLogger(__name__)


class Storage:
    """Storage of runs' files under one URL. File names are generated here, never taken from a request.

    Each file ends with a checksum of its name and content, so that one that was cut, changed or swapped is noticed.
    Files of versions without checksums are read as they are.
    """

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)
        protocols = self._files.protocol  # one name, or several
        self._whole_objects = not OBJECT_STORES.isdisjoint([protocols] if isinstance(protocols, str) else protocols)
        # Safe to cache: a map never changes once it can be requested.
        self.load_map = lru_cache(MAX_CACHED_MAPS)(self._load_map)

    def save_map(self, run_id: str, importance_map: ImportanceMap, label: str | None = None) -> None:
        """Save a map. label: the class whose map it is; None for the map of all examples."""
        self._write(self._map(run_id, importance_map.method, label), importance_map.to_bytes())

    def _load_map(self, run_id: str, method: str, label: str | None = None) -> ImportanceMap:
        """Load a map. Raises NotFound and Damaged."""
        path = self._map(run_id, method, label)
        data = self._read(path, SCORE_AGAIN)
        if data is None:
            raise NotFound(f"The map of run {run_id} by {method} is not in the storage any more. {SCORE_AGAIN}")
        try:
            return ImportanceMap.from_bytes(data)
        except ModelShapleyError as error:
            raise self._damaged(path, str(error), SCORE_AGAIN) from error

    def save_sums(self, run_id: str, shard: int, sums: bytes) -> None:
        """Save the checkpoint of a shard, or its final sums; an undivided run is shard 1."""
        self._write(self._sums(run_id, shard), sums)

    def load_sums(self, run_id: str, shard: int) -> bytes | None:
        """Load a checkpoint; None if there is none, or it is damaged: the shard then begins again."""
        return self._read_or_forget(self._sums(run_id, shard))

    def save_partial(self, run_id: str, importance_map: ImportanceMap) -> None:
        """Save the map of a run so far; it replaces the last one of its method."""
        self._write(self._partial(run_id, importance_map.method), importance_map.to_bytes())

    def load_partial(self, run_id: str, method: str) -> ImportanceMap | None:
        """Load the map of a run so far; None if there is none yet."""
        data = self._read_or_forget(self._partial(run_id, method))
        return None if data is None else ImportanceMap.from_bytes(data)

    def drop_sums(self, run_id: str) -> None:
        """Remove the sums of all shards and the maps so far, with the partial files of killed writers."""
        self._files.invalidate_cache()  # cached listings are outdated: other workers write here too
        for kind in ("sums", "partial"):
            for path in self._files.glob(f"{self._root}/runs/{run_id}/{kind}-*"):
                with suppress(FileNotFoundError):  # another worker of the same run removed it first
                    self._files.rm_file(path)

    def drop_run(self, run_id: str) -> None:
        """Remove all files of a run permanently, if there are any."""
        folder = f"{self._root}/runs/{run_id}"
        self._files.invalidate_cache()
        with suppress(FileNotFoundError):
            # One by one: not every S3-compatible store takes the checksum that botocore sends with a list to delete.
            for path in self._files.find(folder):
                self._files.rm_file(path)
            if not self._whole_objects:
                self._files.rm(folder, recursive=True)
        self.load_map.cache_clear()

    def save_intact(self, run_id: str, answers: bytes) -> None:
        """Save the intact model's outcomes on the test examples (modelshapley.evaluation.intervals.pack)."""
        self._write(self._intact(run_id), answers)

    def load_intact(self, run_id: str) -> bytes | None:
        """Load the intact model's outcomes; None for runs older than this file, or if it is damaged: they are measured
        again.
        """
        return self._read_or_forget(self._intact(run_id))

    def save_report(self, report: Faithfulness) -> None:
        self._write(self._report(report.run), report.model_dump_json().encode())

    def load_report(self, run_id: str) -> Faithfulness | None:
        """Load a report; None for runs older than reports. Raises Damaged."""
        path = self._report(run_id)
        data = self._read(path, CHECK_AGAIN)
        try:
            return None if data is None else Faithfulness.model_validate_json(data)
        except ValueError as error:
            raise self._damaged(path, "it is no report", CHECK_AGAIN) from error

    def drop_report(self, run_id: str) -> None:
        """Remove a report, so that a check begins with an empty one."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._report(run_id))

    def _intact(self, run_id: str) -> str:
        return f"{self._root}/runs/{run_id}/intact.npy"

    def _report(self, run_id: str) -> str:
        return f"{self._root}/runs/{run_id}/faithfulness.json"

    def _map(self, run_id: str, method: str, label: str | None) -> str:
        folder = "" if label is None else f"class-{quote(label, safe='')}/"
        return f"{self._root}/runs/{run_id}/{folder}{method}.safetensors"

    def _partial(self, run_id: str, method: str) -> str:
        return f"{self._root}/runs/{run_id}/partial-{method}.safetensors"

    def _sums(self, run_id: str, shard: int) -> str:
        return f"{self._root}/runs/{run_id}/sums-{shard}.safetensors"

    def _write(self, path: str, data: bytes) -> None:
        """Write a file atomically: a reader never sees half a file, and two writers never share one."""
        content = data + MARK + self._digest(path, data)
        if self._whole_objects:
            with _as_os_errors():
                self._files.pipe_file(path, content)
            return
        part = f"{path}.{uuid.uuid4().hex[:8]}.part"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(part, content)
        self._files.mv(part, path)

    def _read(self, path: str, way_out: str) -> bytes | None:
        """Read a file; None if there is none. Raises Damaged."""
        try:
            with _as_os_errors():
                data: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        end = len(data) - DIGEST_BYTES
        if data[end - len(MARK) : end] != MARK:
            return data  # written before there were checksums, or cut, which its reader notices
        content = data[: end - len(MARK)]
        if self._digest(path, content) != data[end:]:
            raise self._damaged(path, "its checksum differs", way_out)
        return content

    def _read_or_forget(self, path: str) -> bytes | None:
        try:
            return self._read(path, "It is computed again.")
        except Damaged as error:
            log.warning("%s", error)
            return None

    def _digest(self, path: str, data: bytes) -> bytes:
        name = path.removeprefix(self._root)
        return hashlib.sha256(name.encode() + b"\0" + data).digest()

    def _damaged(self, path: str, how: str, way_out: str) -> Damaged:
        return Damaged(
            f"The file {path.removeprefix(self._root).lstrip('/')} in the storage is damaged ({how}). {way_out}"
        )


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise OSError for the errors of an object store's library, which are its own (botocore's are no OSError)."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"the storage does not respond: {type(error).__name__}: {error}") from error
