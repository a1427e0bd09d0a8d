"""Upload a model: say which files, send them in pieces, finish."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from backend.deps import Here
from modelshapley.contracts import ModelInfo, Upload, UploadedFile, UploadRequest

router = APIRouter(prefix="/uploads", tags=["uploads"])
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post("", status_code=201)
def begin(request: UploadRequest, here: Here, response: Response) -> Upload:
    """Begin to upload a model, or go on with one of the same name and files."""
    upload = here.uploads.begin(request)
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    return upload


@router.get("")
def every(here: Here) -> list[Upload]:
    """Uploads under way, oldest first."""
    return here.uploads.all()


@router.get("/{upload_id}")
def one(upload_id: str, here: Here) -> Upload:
    """How far each file is: where to go on after something broke."""
    return here.uploads.one(upload_id)


async def _body(request: Request) -> bytes:
    return await request.body()


@router.put("/{upload_id}/files/{name}", openapi_extra={"requestBody": {"required": True, "content": BYTES}})
def add(
    upload_id: str,
    name: str,
    piece: Annotated[bytes, Depends(_body)],
    here: Here,
    offset: Annotated[int, Query(ge=0, le=2**50)] = 0,
) -> UploadedFile:
    """Append a piece of a file, as raw bytes. `offset`: where it begins; 409 tells where it should."""
    return here.uploads.add(upload_id, name, offset, piece)


@router.post("/{upload_id}/finish", status_code=201)
def finish(upload_id: str, here: Here) -> ModelInfo:
    """Check the files; when they are a model that can be used, it is there as `local:<name>`."""
    return here.uploads.finish(upload_id)


@router.delete("/{upload_id}", status_code=204)
def drop(upload_id: str, here: Here) -> None:
    """Forget an upload, whole or not, and what is here of it."""
    here.uploads.drop(upload_id)
