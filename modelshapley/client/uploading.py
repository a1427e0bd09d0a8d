"""Upload of a model folder or of data, piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

import modelshapley.client.calls as calls
from modelshapley.client.base import ApiError, Call
from modelshapley.contracts import Dataset, ModelInfo, Problem, Upload, UploadFile, UploadRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.models.upload_files import files_of
from modelshapley.tasks.uploaded.names import name_of, named_files

POLL_S = 0.3


def upload_folder(
    send: Callable[[Call[Any]], Any], folder: Path, name: str, told: Callable[[int, int], None]
) -> ModelInfo:
    """Upload the model in a folder, as :meth:`Client.upload_model` describes. told: called with (bytes done, total)."""
    files = {file.name: file for file in files_of(folder)}
    if not files:
        raise ModelShapleyError(f"{folder} holds no model files; it needs config.json and *.safetensors.")
    upload = _send_files(send, "model", name, files, told)
    model: ModelInfo = send(calls.finish_upload(upload.id))
    return model


def upload_files(
    send: Callable[[Call[Any]], Any], files: list[Path], name: str | None, told: Callable[[int, int], None]
) -> Dataset:
    """Upload data, as :meth:`Client.upload_data` describes."""
    for file in files:
        if not file.is_file():
            raise ModelShapleyError(f"There is no file {file}.")
    name = name or name_of(files[0].name)
    state: Upload | None = _send_files(send, "data", name, named_files(files, name), told)
    while state is not None and state.state != "failed":
        if state.state == "checking":
            time.sleep(POLL_S)
        # 'receiving' also comes after a restart of the server
        state = _unless_gone(send, (calls.finish_data if state.state == "receiving" else calls.upload)(state.id))
    if state is not None:
        problem = state.problem or "The data cannot be used."
        send(calls.drop_upload(state.id))
        raise ApiError(Problem(title="Unusable data", status=422, detail=problem))
    dataset: Dataset = send(calls.dataset(name))
    return dataset


def _unless_gone(send: Callable[[Call[Any]], Any], call: Call[Upload]) -> Upload | None:
    try:
        upload: Upload = send(call)
    except ApiError as error:
        if error.problem.status == 404:
            return None
        raise
    return upload


def _send_files(
    send: Callable[[Call[Any]], Any],
    kind: Literal["model", "data"],
    name: str,
    files: dict[str, Path],
    told: Callable[[int, int], None],
) -> Upload:
    """Send the pieces that the server does not have. files: by the names that the server knows them by."""
    upload: Upload = send(calls.begin_upload(_request(kind, name, files)))
    done, total = sum(file.done for file in upload.files), sum(file.size for file in upload.files)
    for file in upload.files:
        with files[file.name].open("rb") as stream:
            stream.seek(file.done)
            while piece := stream.read(upload.piece):
                send(calls.add_piece(upload.id, file.name, stream.tell() - len(piece), piece))
                done += len(piece)
                told(done, total)
    return upload


def _request(kind: Literal["model", "data"], name: str, files: dict[str, Path]) -> UploadRequest:
    stats = [(file_name, file.stat()) for file_name, file in files.items()]
    try:
        listed = [UploadFile(name=file, size=stat.st_size, stamp=str(stat.st_mtime_ns)) for file, stat in stats]
        return UploadRequest(kind=kind, name=name, files=listed)
    except ValidationError as error:
        problems = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
        raise ModelShapleyError(
            f"{name!r} cannot be uploaded ({problems}). A name has up to 80 letters, digits, dots and dashes; "
            "pass another one as name=..."
        ) from error
