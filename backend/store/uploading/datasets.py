"""Uploads of data for tasks: complete files are inspected in the background, and become a folder of a dataset root."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from backend.store.uploading.staging import TRASH, Staging
from modelshapley.contracts import Dataset, Upload, UploadRequest
from modelshapley.errors import Conflict, ModelShapleyError, NotFound
from modelshapley.tasks.uploaded.inspection import Inspection
from modelshapley.tasks.uploaded.limits import DataLimits
from modelshapley.tasks.uploaded.names import FOLDER, PLAIN, problems_of

log = logging.getLogger(__name__)
STAGING = ".uploads"
DESCRIPTION = ".dataset.json"  # hidden, so that no task takes it for data
SILENT_S = 60.0  # after which an inspection without progress counts as ended, since its server was
MAX_INSPECTIONS = 2  # at the same time; others wait


class _Check(BaseModel):
    state: Literal["checking", "failed"]
    problem: str | None = None


class DataUploads(Staging):
    """Uploads of data in progress, and the data that were uploaded. root: the first dataset root."""

    noun, setting = "data", "MODELSHAPLEY_DATASET_ROOTS"

    def __init__(self, root: Path, limits: DataLimits, piece: int) -> None:
        super().__init__(root / STAGING, piece)
        self._finished, self._limits = root / FOLDER, limits
        self._pool = ThreadPoolExecutor(MAX_INSPECTIONS, thread_name_prefix="data")
        self._submitted: set[str] = set()  # uploads that this server inspects or will inspect
        self._running: dict[str, Inspection] = {}
        self._closing = False

    def get(self, upload_id: str) -> Upload:
        upload = super().get(upload_id)
        check = self._load_check(upload_id)
        if check is None:
            state: dict[str, Any] = {}
        elif check.state == "failed":
            state = {"state": "failed", "problem": check.problem}
        else:
            state = self._checking(upload_id)
        self._load_plan(upload_id)  # still there? What was read of an upload that is being discarded means nothing
        return upload.model_copy(update=state)

    def _checking(self, upload_id: str) -> dict[str, Any]:
        """Return how far an inspection is; nothing if its server ended, so that it can begin again."""
        file = self._progress(upload_id)
        with suppress(OSError, ValueError):  # discarded at this very moment, or being written
            if upload_id in self._submitted or time.time() - file.stat().st_mtime < SILENT_S:
                return {"state": "checking", "checked": float(file.read_text())}
        return {}

    def begin_check(self, upload_id: str) -> Upload:
        """Begin to inspect complete files in the background, and return the upload, now 'checking'.

        The upload ends as a :class:`Dataset` of its name, or 'failed'. Raises NotFound, and Conflict while bytes are
        missing or if the name was taken meanwhile.
        """
        with self._locked():
            upload = self.get(upload_id)
            self._refuse_incomplete(upload)
            self._check_name(upload.name)
            if upload.state == "checking":
                return upload
            self._progress(upload_id).write_text("0")
            self._save_check(upload_id, _Check(state="checking"))
            self._submitted.add(upload_id)
            begun = self.get(upload_id)  # a small file may be data, and no upload any more, before the next line ends
        self._pool.submit(self._check, upload_id)
        return begun

    def _check(self, upload_id: str) -> None:
        """Inspect the files of an upload, and move them into place or note what is wrong with them."""
        try:
            self._inspect(self.get(upload_id))
        except (NotFound, FileNotFoundError):
            log.info("upload %s was discarded while its data were inspected", upload_id)
        except ModelShapleyError as error:
            if not self._closing:
                self._fail(upload_id, str(error))
        except Exception:  # whatever a disk or a reader raises
            log.exception("cannot inspect the data of upload %s", upload_id)
            self._fail(upload_id, "The data cannot be inspected; see the server's log.")
        finally:
            self._running.pop(upload_id, None)
            self._submitted.discard(upload_id)

    def _inspect(self, upload: Upload) -> None:
        folder = self._folder / upload.id
        files, target = folder / "files", folder / "unpacked"
        shutil.rmtree(target, ignore_errors=True)
        inspection = self._running[upload.id] = Inspection(files, target, self._progress(upload.id), self._limits)
        try:
            self._load_plan(upload.id)  # from here on, who discards it or ends the server stops the inspection, too
            if self._closing:
                inspection.stop()
            description = inspection.run()
        except ModelShapleyError:
            shutil.rmtree(target, ignore_errors=True)
            raise
        finally:
            inspection.close()
        complete = target if description["form"] == "pictures" else files
        size = sum(file.stat().st_size for file in complete.rglob("*") if file.is_file())
        dataset = Dataset(
            name=upload.name, path=f"{FOLDER}/{upload.name}", bytes=size, created=datetime.now(UTC), **description
        )
        (complete / DESCRIPTION).write_text(dataset.model_dump_json(), encoding="utf-8")
        with self._locked():
            self._check_name(upload.name)
            self._finished.mkdir(exist_ok=True)
            complete.rename(self._finished / upload.name)
            self.drop(upload.id)

    def drop(self, upload_id: str) -> None:
        inspection = self._running.get(upload_id)
        super().drop(upload_id)
        if inspection is not None:
            inspection.stop()

    def close(self) -> None:
        """End the inspections in progress; their uploads stay, and can be finished again."""
        self._closing = True
        for inspection in list(self._running.values()):
            inspection.stop()
        self._pool.shutdown(cancel_futures=True)

    def datasets(self) -> list[Dataset]:
        """List the uploaded data, newest first."""
        datasets = []
        for file in self._finished.glob(f"*/{DESCRIPTION}"):
            with suppress(NotFound):  # deleted at this very moment
                datasets.append(self.dataset(file.parent.name))
        return sorted(datasets, key=lambda dataset: dataset.created, reverse=True)

    def dataset(self, name: str) -> Dataset:
        """Describe uploaded data. Raises NotFound."""
        file = self._finished / name / DESCRIPTION
        if PLAIN.fullmatch(name) and not file.parent.is_symlink():
            with suppress(OSError, ValueError):
                return Dataset.model_validate_json(file.read_bytes())
        raise NotFound(f"There are no uploaded data {name[:100]!r} (GET /api/v1/datasets lists them).")

    def delete(self, name: str) -> None:
        """Delete uploaded data. Raises NotFound."""
        self.dataset(name)
        # Renamed first: from then on nobody sees half of them. The staging folder is on the same disk.
        trash = self._folder / f"{TRASH}{uuid.uuid4().hex[:12]}"
        with suppress(FileNotFoundError):  # somebody else was first
            (self._finished / name).rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    def _problems(self, request: UploadRequest) -> list[str]:
        return problems_of([(file.name, file.size) for file in request.files], self._limits.max_bytes)

    def _check_name(self, name: str) -> None:
        if (self._finished / name).exists():
            raise Conflict(
                f"There already are data called {name!r}; choose another name, or use them: source path "
                f"{FOLDER}/{name}."
            )

    def _fail(self, upload_id: str, problem: str) -> None:
        with suppress(OSError):  # discarded at this very moment
            self._save_check(upload_id, _Check(state="failed", problem=problem))

    def _progress(self, upload_id: str) -> Path:
        return self._folder / upload_id / "progress"

    def _save_check(self, upload_id: str, check: _Check) -> None:
        part = self._folder / upload_id / "check.part"
        part.write_text(check.model_dump_json(), encoding="utf-8")
        part.rename(part.with_suffix(".json"))

    def _load_check(self, upload_id: str) -> _Check | None:
        with suppress(OSError):
            return _Check.model_validate_json((self._folder / upload_id / "check.json").read_bytes())
        return None
