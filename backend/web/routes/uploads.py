"""Routes to upload a model, or data for tasks: list the files, send them in pieces, finish."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from backend.store.uploading.datasets import DataUploads
from backend.store.uploading.models import Uploads
from backend.web.access.callers import IdentityDep
from backend.web.bodies import BodyRoute
from backend.web.dependencies import Services, ServicesDep
from modelshapley.contracts import ModelInfo, Upload, UploadedFile, UploadRequest

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=BodyRoute)
BINARY_CONTENT = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post("", status_code=201)
def begin_upload(request: UploadRequest, services: ServicesDep, response: Response) -> Upload:
    """Begin to upload a model or data, or resume the upload with the same name and files."""
    upload = (services.data_uploads if request.kind == "data" else services.uploads).begin(request)
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    return upload


@router.get("")
def list_uploads(services: ServicesDep) -> list[Upload]:
    """List the uploads in progress, oldest first."""
    uploads = [*services.uploads.list_all(), *services.data_uploads.list_all()]
    return sorted(uploads, key=lambda upload: upload.created)


@router.get("/{upload_id}")
def get_upload(upload_id: str, services: ServicesDep) -> Upload:
    """Return the state of each file, to resume after an interruption; for data, also of their inspection."""
    return _holder(services, upload_id).get(upload_id)


def _holder(services: Services, upload_id: str) -> Uploads | DataUploads:
    return services.data_uploads if upload_id in services.data_uploads else services.uploads


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
    return _holder(services, upload_id).add_piece(upload_id, name, offset, piece)


@router.post("/{upload_id}/finish", status_code=201)
def finish_upload(
    upload_id: str, services: ServicesDep, identity: IdentityDep, response: Response
) -> ModelInfo | Upload:
    """Validate the files; a usable model becomes `local:<name>`.

    Data are inspected in the background: 202 with the upload, whose `state` is then 'checking'. It ends 'failed', or is
    gone, and `/datasets/<name>` describes the data.
    """
    if upload_id in services.data_uploads:
        upload = services.data_uploads.begin_check(upload_id)
        services.records.audit(identity.name, "finish_upload", f"data:{upload.name}")
        response.status_code = 202
        response.headers["Location"] = f"/api/v1/uploads/{upload_id}"
        return upload
    model = services.uploads.finish(upload_id)
    services.records.audit(identity.name, "finish_upload", model.id)
    return model


@router.delete("/{upload_id}", status_code=204)
def delete_upload(upload_id: str, services: ServicesDep, identity: IdentityDep) -> None:
    """Discard an upload and its files."""
    _holder(services, upload_id).drop(upload_id)
    services.records.audit(identity.name, "delete_upload", upload_id)
