"""Models being uploaded: pieces appended to files, and a folder that is moved in one step once it is whole.

All there is to know lies on disk, beside the models: `.uploads/<id>/upload.json` and the files so far. So an
upload survives a restart, and several web servers may take its pieces.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pydantic import BaseModel
from safetensors import SafetensorError, safe_open

from modelshapley.contracts import ModelInfo, Upload, UploadedFile, UploadRequest
from modelshapley.errors import Conflict, ModelShapleyError, NotFound, UnsupportedModel
from modelshapley.formatting import bytes_as_text
from modelshapley.models.catalog import Catalog, inspect_folder
from modelshapley.models.upload_files import problems_of

ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
AT_ONCE = 20
SPARE = 2**30  # bytes that stay free on the disk


class _Plan(BaseModel):
    request: UploadRequest
    created: datetime


class Uploads:
    """most: bytes of one model; piece: bytes of one request. Errors are ModelShapleyError's."""

    def __init__(self, catalog: Catalog, most: int, piece: int) -> None:
        self._catalog, self._most, self._piece = catalog, most, piece
        self._root = catalog.roots[0]
        self._folder = self._root / ".uploads"

    def begin(self, request: UploadRequest) -> Upload:
        """A new upload, or the one that is under way with the same name and files.

        Raises Conflict where the name is taken, or there is no room, and ModelShapleyError for files of no model.
        """
        problems = problems_of([(file.name, file.size) for file in request.files], self._most)
        if problems:
            raise ModelShapleyError(f"Model {request.name!r} cannot be uploaded: {'; '.join(problems)}.")
        self._free(request.name)
        with self._locked():
            for other in self.all():
                if other.name == request.name:
                    if _asked(other) == request:
                        return other
                    raise Conflict(
                        f"Other files are on their way as {request.name!r}; choose another name, or drop them "
                        f"(DELETE /api/v1/uploads/{other.id})."
                    )
            self._room(request)
            upload_id = uuid.uuid4().hex[:12]
            (self._folder / upload_id / "files").mkdir(parents=True)
            plan = _Plan(request=request, created=datetime.now(UTC))
            part = self._folder / upload_id / "upload.part"
            part.write_text(plan.model_dump_json(), encoding="utf-8")
            part.rename(part.with_suffix(".json"))
        return self.one(upload_id)

    def one(self, upload_id: str) -> Upload:
        """How far it is. Raises NotFound."""
        plan = self._plan(upload_id)
        files = [
            UploadedFile(**file.model_dump(), done=_size(self._file(upload_id, file.name)))
            for file in plan.request.files
        ]
        return Upload(id=upload_id, name=plan.request.name, files=files, created=plan.created, piece=self._piece)

    def all(self) -> list[Upload]:
        """Those under way, oldest first."""
        found = []
        for folder in self._folder.glob("*/upload.json"):
            with suppress(NotFound):  # dropped this very moment
                found.append(self.one(folder.parent.name))
        return sorted(found, key=lambda upload: upload.created)

    def add(self, upload_id: str, name: str, offset: int, piece: bytes) -> UploadedFile:
        """Append a piece. Raises NotFound, Conflict where it does not follow, ModelShapleyError beyond the end."""
        file = next((file for file in self._plan(upload_id).request.files if file.name == name), None)
        if file is None:
            raise NotFound(f"Upload {upload_id} has no file {name!r}.")
        if not piece:
            raise ModelShapleyError(f"The piece of {name!r} is empty; send at least one byte.")
        if offset + len(piece) > file.size:
            raise ModelShapleyError(
                f"{name!r} has {file.size:,} bytes; {len(piece):,} more at {offset:,} would be too many."
            )
        try:
            with self._file(upload_id, name).open("ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                done = stream.seek(0, 2)
                if done != offset:
                    raise Conflict(f"{done:,} bytes of {name!r} are here; go on at offset {done}, not {offset}.")
                stream.write(piece)
        except FileNotFoundError as error:
            raise NotFound(f"Upload {upload_id} was dropped this moment.") from error
        except OSError as error:
            # What was written of the piece counts: `done` says how far the file is.
            raise ModelShapleyError(
                f"The server could not write a piece of {name!r} ({error.strerror}); make room, and go on."
            ) from error
        return UploadedFile(**file.model_dump(), done=offset + len(piece))

    def finish(self, upload_id: str) -> ModelInfo:
        """Check the whole folder and make it a model. Raises Conflict while bytes are missing, and what
        inspect_folder raises; the upload then stays, to be dropped."""
        upload = self.one(upload_id)
        for file in upload.files:
            if file.done < file.size:
                raise Conflict(f"{file.name!r} is not whole: {file.done:,} of {file.size:,} bytes are services.")
        model, folder = f"local:{upload.name}", self._folder / upload_id / "files"
        inspect_folder(model, folder)
        _whole(model, folder)
        with self._locked():
            self._free(upload.name)
            folder.rename(self._root / upload.name)
        self.drop(upload_id)
        return self._catalog.describe(model)

    def drop(self, upload_id: str) -> None:
        """Forget an upload and its files. Raises NotFound."""
        self._plan(upload_id)
        shutil.rmtree(self._folder / upload_id, ignore_errors=True)

    def drop_stale(self, before: datetime) -> list[str]:
        """Drop those that nothing was added to since; their names."""
        stale = [upload for upload in self.all() if self._touched(upload) < before]
        for upload in stale:
            with suppress(NotFound):  # another server was quicker
                self.drop(upload.id)
        return [upload.name for upload in stale]

    def _touched(self, upload: Upload) -> datetime:
        files = [self._file(upload.id, file.name) for file in upload.files]
        moments = [file.stat().st_mtime for file in files if file.exists()]
        return max([upload.created, *(datetime.fromtimestamp(moment, UTC) for moment in moments)])

    def _plan(self, upload_id: str) -> _Plan:
        file = self._folder / upload_id / "upload.json"
        if not ID.fullmatch(upload_id) or not file.is_file():
            raise NotFound(f"There is no upload {upload_id!r}; it was finished, dropped or left alone for long.")
        return _Plan.model_validate_json(file.read_text(encoding="utf-8"))

    def _file(self, upload_id: str, name: str) -> Path:
        """name: one of the plan's, which were checked before it was written."""
        return self._folder / upload_id / "files" / name

    def _free(self, name: str) -> None:
        taken = [root for root in self._catalog.roots if (root / name).exists()]
        if taken:
            raise Conflict(f"There is a model local:{name} already; choose another name.")

    def _room(self, request: UploadRequest) -> None:
        under_way = self.all()
        if len(under_way) >= AT_ONCE:
            raise Conflict(f"{len(under_way)} uploads are under way; finish or drop one (GET /api/v1/uploads).")
        promised = sum(file.size - file.done for upload in under_way for file in upload.files)
        free = shutil.disk_usage(self._folder).free - SPARE - promised
        wanted = sum(file.size for file in request.files)
        if wanted > free:
            raise Conflict(
                f"Model {request.name!r} takes {bytes_as_text(wanted)}, and the server's disk has room for "
                f"{bytes_as_text(max(free, 0))}; free some, or set MODELSHAPLEY_MODEL_ROOTS to another disk."
            )

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        """One at a time, in all servers. Raises Conflict where nothing can be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / "lock").open("w")
        except OSError as error:
            raise Conflict(
                f"No model can be uploaded: the folder of models cannot be written to ({error.strerror})."
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock


def _asked(upload: Upload) -> UploadRequest:
    return UploadRequest.model_validate(
        {"name": upload.name, "files": [file.model_dump(exclude={"done"}) for file in upload.files]}
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _whole(model: str, folder: Path) -> None:
    """Raise UnsupportedModel where a header of safetensors does not fit its file, or the index names others."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UnsupportedModel(f"{index.name} of {model!r} is no index of safetensors: {error!r}") from error
        lacking = sorted(str(name) for name in named if name not in {file.name for file in folder.iterdir()})
        if lacking:
            raise UnsupportedModel(f"{index.name} of {model!r} names {lacking[0]!r}, which was not uploaded.")
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except SafetensorError as error:
            raise UnsupportedModel(f"{file.name} of {model!r} is no whole safetensors file: {error}") from error
