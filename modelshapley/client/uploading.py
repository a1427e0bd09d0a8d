"""Upload of a model folder, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import modelshapley.client.calls as calls
from modelshapley.client.base import Call
from modelshapley.contracts import ModelInfo, UploadFile, UploadRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.models.upload_files import files_of


def upload_folder(
    send: Callable[[Call[Any]], Any], folder: Path, name: str, told: Callable[[int, int], None]
) -> ModelInfo:
    """Upload the model in a folder, as :meth:`Client.upload_model` describes. told: called with (bytes done, total)."""
    files = {file.name: file for file in files_of(folder)}
    upload = send(calls.begin_upload(_request(name, folder, list(files.values()))))
    done, total = sum(file.done for file in upload.files), sum(file.size for file in upload.files)
    for file in upload.files:
        with files[file.name].open("rb") as stream:
            stream.seek(file.done)
            while piece := stream.read(upload.piece):
                send(calls.add_piece(upload.id, file.name, stream.tell() - len(piece), piece))
                done += len(piece)
                told(done, total)
    model: ModelInfo = send(calls.finish_upload(upload.id))
    return model


def _request(name: str, folder: Path, files: list[Path]) -> UploadRequest:
    if not files:
        raise ModelShapleyError(f"{folder} holds no model files; it needs config.json and *.safetensors.")
    stats = [(file.name, file.stat()) for file in files]
    try:
        listed = [UploadFile(name=name, size=stat.st_size, stamp=str(stat.st_mtime_ns)) for name, stat in stats]
        return UploadRequest(name=name, files=listed)
    except ValidationError as error:
        problems = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
        raise ModelShapleyError(
            f"{name!r} cannot be uploaded ({problems}). A name has up to 80 letters, digits, dots and dashes; "
            "pass another one as name=..."
        ) from error
