"""Upload a model: say which files, send them in pieces, finish."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from backend.web.dependencies import ServicesDep
from modelshapley.contracts import ModelInfo, Upload, UploadedFile, UploadRequest

router = APIRouter(prefix="/uploads", tags=["uploads"])
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post("", status_code=201)
def begin(request: UploadRequest, services: ServicesDep, response: Response) -> Upload:
    """Begin to upload a model, or go on with one of the same name and files."""
    upload = services.uploads.begin(request)
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    return upload


@router.get("")
def every(services: ServicesDep) -> list[Upload]:
    """Uploads under way, oldest first."""
    return services.uploads.all()


@router.get("/{upload_id}")
def one(upload_id: str, services: ServicesDep) -> Upload:
    """How far each file is: where to go on after something broke."""
    return services.uploads.one(upload_id)


async def _body(request: Request) -> bytes:
    return await request.body()


@router.put("/{upload_id}/files/{name}", openapi_extra={"requestBody": {"required": True, "content": BYTES}})
def add(
    upload_id: str,
    name: str,
    piece: Annotated[bytes, Depends(_body)],
    services: ServicesDep,
    offset: Annotated[int, Query(ge=0, le=2**50)] = 0,
) -> UploadedFile:
    """Append a piece of a file, as raw bytes. `offset`: where it begins; 409 tells where it should."""
    return services.uploads.add(upload_id, name, offset, piece)


@router.post("/{upload_id}/finish", status_code=201)
def finish(upload_id: str, services: ServicesDep) -> ModelInfo:
    """Check the files; when they are a model that can be used, it is there as `local:<name>`."""
    return services.uploads.finish(upload_id)


@router.delete("/{upload_id}", status_code=204)
def drop(upload_id: str, services: ServicesDep) -> None:
    """Forget an upload, whole or not, and what is here of it."""
    services.uploads.drop(upload_id)
