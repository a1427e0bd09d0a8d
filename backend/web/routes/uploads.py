"""Routes to upload a model: list its files, send them in pieces, finish."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from backend.web.access.callers import IdentityDep
from backend.web.bodies import BodyRoute
from backend.web.dependencies import ServicesDep
from modelshapley.contracts import ModelInfo, Upload, UploadedFile, UploadRequest

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=BodyRoute)
BINARY_CONTENT = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post("", status_code=201)
def begin_upload(request: UploadRequest, services: ServicesDep, response: Response) -> Upload:
    """Begin to upload a model, or resume the upload with the same name and files."""
    upload = services.uploads.begin(request)
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    return upload


@router.get("")
def list_uploads(services: ServicesDep) -> list[Upload]:
    """List the uploads in progress, oldest first."""
    return services.uploads.list_all()


@router.get("/{upload_id}")
def get_upload(upload_id: str, services: ServicesDep) -> Upload:
    """Return the state of each file, to resume after an interruption."""
    return services.uploads.get(upload_id)


async def _body(request: Request) -> bytes:
    return await request.body()


@router.put("/{upload_id}/files/{name}", openapi_extra={"requestBody": {"required": True, "content": BINARY_CONTENT}})
def add_piece(
    upload_id: str,
    name: str,
    piece: Annotated[bytes, Depends(_body)],
    services: ServicesDep,
    offset: Annotated[int, Query(ge=0, le=2**50)] = 0,
) -> UploadedFile:
    """Append a piece of a file, as raw bytes. `offset`: position of the piece; 409 names the right one."""
    return services.uploads.add_piece(upload_id, name, offset, piece)


@router.post("/{upload_id}/finish", status_code=201)
def finish_upload(upload_id: str, services: ServicesDep, identity: IdentityDep) -> ModelInfo:
    """Validate the files; a usable model becomes `local:<name>`."""
    model = services.uploads.finish(upload_id)
    services.records.audit(identity.name, "finish_upload", model.id)
    return model


@router.delete("/{upload_id}", status_code=204)
def delete_upload(upload_id: str, services: ServicesDep, identity: IdentityDep) -> None:
    """Discard an upload and its files."""
    services.uploads.drop(upload_id)
    services.records.audit(identity.name, "delete_upload", upload_id)
