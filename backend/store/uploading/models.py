"""Uploads of models: the complete folder is validated and becomes `local:<name>`."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from safetensors import SafetensorError, safe_open

from backend.store.uploading.staging import Staging
from modelshapley.contracts import ModelInfo, UploadRequest
from modelshapley.errors import Conflict, NotFound, UnsupportedModel
from modelshapley.models.catalog import FINISHED, UPLOADS, Catalog, inspect_folder, mark_uploaded
from modelshapley.models.headers import MAX_CONFIG_BYTES, MAX_HEADER_BYTES, read_json
from modelshapley.models.upload_files import problems_of

INDEX = "model.safetensors.index.json"
LARGE_TEXTS = ("tokenizer.json", "vocab.json")


class Uploads(Staging):
    """Uploads of models in progress. max_bytes: limit of one model. piece: largest request body."""

    noun, setting = "model", "MODELSHAPLEY_MODEL_ROOTS"

    def __init__(self, catalog: Catalog, max_bytes: int, piece: int) -> None:
        self._root = catalog.roots[0]
        super().__init__(self._root / UPLOADS, piece)
        self._catalog, self._max_bytes = catalog, max_bytes

    def _problems(self, request: UploadRequest) -> list[str]:
        return problems_of([(file.name, file.size) for file in request.files], self._max_bytes)

    def finish(self, upload_id: str) -> ModelInfo:
        """Validate the complete folder and make it a model.

        Raises Conflict while bytes are missing, and what inspect_folder raises; the upload then stays until discarded.
        """
        upload = self.get(upload_id)
        self._refuse_incomplete(upload)
        model, folder = f"local:{upload.name}", self._folder / upload_id / "files"
        inspect_folder(model, folder)
        _check_weights(model, folder)
        with self._locked():
            self._load_plan(upload_id)  # nobody else has finished it meanwhile
            self._check_name(upload.name)
            folder.rename(self._root / upload.name)
            mark_uploaded(self._root / upload.name)
            self.drop(upload_id)
        return self._catalog.describe(model)

    def drop_unused(self, before: datetime, is_used: Callable[[str], bool]) -> list[str]:
        """Delete the uploaded models that were last in use before a moment; return their ids.

        is_used: whether a run needs a model. Those that are used now are marked so: the time of a model's mark is when
        it was last seen in use, or uploaded.
        """
        unused = []
        for mark in sorted((self._root / FINISHED).glob("*")):
            model = f"local:{mark.name}"
            with suppress(FileNotFoundError, NotFound, Conflict):  # another server, or somebody else, was first
                if is_used(model):
                    os.utime(mark)
                elif datetime.fromtimestamp(mark.stat().st_mtime, UTC) < before:
                    self._catalog.delete(model, is_used)
                    unused.append(model)
        return unused

    def _check_name(self, name: str) -> None:
        taken = [root for root in self._catalog.roots if (root / name).exists()]
        if taken:
            raise Conflict(f"There already is a model local:{name}; choose another name.")


def _check_weights(model: str, folder: Path) -> None:
    """Raise UnsupportedModel if a safetensors header does not match its file, or the index names other files."""
    for file in sorted(folder.glob("*.json")):
        if file.name not in LARGE_TEXTS:
            read_json(model, file, MAX_HEADER_BYTES if file.name == INDEX else MAX_CONFIG_BYTES)
    if (folder / INDEX).is_file():
        _check_index(model, folder)
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except (SafetensorError, OSError, ValueError) as error:
            raise UnsupportedModel(f"{file.name} of {model!r} is not a complete safetensors file: {error}") from error


def _check_index(model: str, folder: Path) -> None:
    """Raise UnsupportedModel if the index names files that were not uploaded."""
    index = read_json(model, folder / INDEX, MAX_HEADER_BYTES)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise UnsupportedModel(f"{INDEX} of {model!r} is not a safetensors index: it has no weight_map of file names.")
    missing = sorted(set(files.values()) - {file.name for file in folder.iterdir()})
    if missing:
        raise UnsupportedModel(f"{INDEX} of {model!r} names {missing[0]!r}, which was not uploaded.")
