"""Uploads in progress: pieces are appended to files, and the complete folder moves into place in one step.

The whole state is on disk, next to where the files will go: `.uploads/<id>/upload.json` and the files so far. So an
upload survives a restart, and several web servers can receive its pieces.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from modelshapley.contracts import Upload, UploadedFile, UploadRequest
from modelshapley.errors import Conflict, ModelShapleyError, NotFound
from modelshapley.formatting import bytes_as_text

ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
TRASH = "deleted-"  # begins the name of a folder that is being removed
MAX_UPLOADS = 20
MIN_FREE_BYTES = 2**30  # disk space that uploads leave free


class _UploadPlan(BaseModel):
    request: UploadRequest
    created: datetime


class Staging(ABC):
    """Uploads in progress of one kind. folder: holds them. piece: largest request body. Raises ModelShapleyErrors."""

    noun: str  # what is uploaded, such as "model"
    setting: str  # the setting that moves the folder to another disk

    def __init__(self, folder: Path, piece: int) -> None:
        self._folder, self._piece = folder, piece

    @abstractmethod
    def _problems(self, request: UploadRequest) -> list[str]:
        """Describe what is wrong with the files of a request."""

    @abstractmethod
    def _check_name(self, name: str) -> None:
        """Raise Conflict if the name is taken."""

    def __contains__(self, upload_id: str) -> bool:
        return bool(ID.fullmatch(upload_id)) and (self._folder / upload_id / "upload.json").is_file()

    def begin(self, request: UploadRequest) -> Upload:
        """Begin an upload, or return the one in progress with the same name and files.

        Raises Conflict if the name is taken or the disk is full, and ModelShapleyError for files of another kind.
        """
        problems = self._problems(request)
        if problems:
            raise ModelShapleyError(
                f"{self.noun.capitalize()} {request.name!r} cannot be uploaded: {'; '.join(problems)}."
            )
        self._check_name(request.name)
        with self._locked():
            for other in self.list_all():
                if other.name == request.name:
                    if _request_of(other) == request:
                        return other
                    raise Conflict(
                        f"Other files are being uploaded as {request.name!r}; choose another name, or discard them "
                        f"(DELETE /api/v1/uploads/{other.id})."
                    )
            self._check_space(request)
            upload_id = uuid.uuid4().hex[:12]
            (self._folder / upload_id / "files").mkdir(parents=True)
            plan = _UploadPlan(request=request, created=datetime.now(UTC))
            part = self._folder / upload_id / "upload.part"
            part.write_text(plan.model_dump_json(), encoding="utf-8")
            part.rename(part.with_suffix(".json"))
        return self.get(upload_id)

    def get(self, upload_id: str) -> Upload:
        """Return the state of an upload. Raises NotFound."""
        plan = self._load_plan(upload_id)
        files = [
            UploadedFile(**file.model_dump(), done=_size(self._file(upload_id, file.name)))
            for file in plan.request.files
        ]
        request = plan.request
        return Upload(
            id=upload_id, kind=request.kind, name=request.name, files=files, created=plan.created, piece=self._piece
        )

    def list_all(self) -> list[Upload]:
        """List the uploads in progress, oldest first."""
        uploads = []
        for folder in self._folder.glob("*/upload.json"):
            with suppress(NotFound):  # discarded at this very moment
                uploads.append(self.get(folder.parent.name))
        return sorted(uploads, key=lambda upload: upload.created)

    def add_piece(self, upload_id: str, name: str, offset: int, piece: bytes) -> UploadedFile:
        """Append a piece.

        Raises NotFound, Conflict for a wrong offset, ModelShapleyError beyond the end of the file.
        """
        file = next((file for file in self._load_plan(upload_id).request.files if file.name == name), None)
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
                    raise Conflict(
                        f"The server has {done:,} bytes of {name!r}; continue at offset {done}, not {offset}."
                    )
                stream.write(piece)
        except FileNotFoundError as error:
            raise NotFound(f"Upload {upload_id} was just discarded.") from error
        except OSError as error:
            # A partly written piece counts: `done` reports the size of the file.
            raise ModelShapleyError(
                f"The server could not write a piece of {name!r} ({error.strerror}); free some disk space and continue."
            ) from error
        return UploadedFile(**file.model_dump(), done=offset + len(piece))

    def drop(self, upload_id: str) -> None:
        """Discard an upload and its files. Raises NotFound."""
        self._load_plan(upload_id)
        folder = self._folder / upload_id
        (folder / "upload.json").unlink(missing_ok=True)  # first: from now on there is no such upload, for anybody
        shutil.rmtree(folder, ignore_errors=True)

    def drop_stale(self, before: datetime) -> list[str]:
        """Discard the uploads without changes since then; return their names. Also what a killed server left half."""
        for folder in self._folder.glob("*/"):
            left = folder.name.startswith(TRASH) or (ID.fullmatch(folder.name) and folder.name not in self)
            with suppress(FileNotFoundError):  # another server was first
                if left and folder.stat().st_ctime < before.timestamp():  # a rename changes no mtime
                    shutil.rmtree(folder, ignore_errors=True)
        stale = [upload for upload in self.list_all() if self._last_change(upload) < before]
        for upload in stale:
            with suppress(NotFound):  # another server discarded it first
                self.drop(upload.id)
        return [upload.name for upload in stale]

    def _refuse_incomplete(self, upload: Upload) -> None:
        for file in upload.files:
            if file.done < file.size:
                raise Conflict(f"{file.name!r} is incomplete: the server has {file.done:,} of {file.size:,} bytes.")

    def _last_change(self, upload: Upload) -> datetime:
        files = [self._file(upload.id, file.name) for file in upload.files]
        moments = [file.stat().st_mtime for file in files if file.exists()]
        return max([upload.created, *(datetime.fromtimestamp(moment, UTC) for moment in moments)])

    def _load_plan(self, upload_id: str) -> _UploadPlan:
        if ID.fullmatch(upload_id):
            with suppress(FileNotFoundError):
                return _UploadPlan.model_validate_json((self._folder / upload_id / "upload.json").read_bytes())
        raise NotFound(f"There is no upload {upload_id!r}; it was finished, discarded or unchanged for too long.")

    def _file(self, upload_id: str, name: str) -> Path:
        """Return the path of a file. name: one of the plan's, which were validated before it was written."""
        return self._folder / upload_id / "files" / name

    def _check_space(self, request: UploadRequest) -> None:
        uploads = self.list_all()
        if len(uploads) >= MAX_UPLOADS:
            raise Conflict(f"{len(uploads)} uploads are in progress; finish or discard one (GET /api/v1/uploads).")
        reserved = sum(file.size - file.done for upload in uploads for file in upload.files)
        free = shutil.disk_usage(self._folder).free - MIN_FREE_BYTES - reserved
        needed = sum(file.size for file in request.files)
        if needed > free:
            raise Conflict(
                f"{self.noun.capitalize()} {request.name!r} needs {bytes_as_text(needed)}, but the server's disk has "
                f"space for {bytes_as_text(max(free, 0))}; free some, or set {self.setting} to another disk."
            )

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        """Lock the uploads across all servers. Raises Conflict if the folder cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / "lock").open("w")
        except OSError as error:
            raise Conflict(
                f"No {self.noun} can be uploaded: the folder for it cannot be written to ({error.strerror})."
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock


def _request_of(upload: Upload) -> UploadRequest:
    return UploadRequest.model_validate(
        {
            "kind": upload.kind,
            "name": upload.name,
            "files": [file.model_dump(exclude={"done"}) for file in upload.files],
        }
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
