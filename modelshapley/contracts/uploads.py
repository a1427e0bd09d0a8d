"""Uploads of models, file by file."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from modelshapley.contracts.base import Contract, Whole

MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class UploadFile(Contract):
    """A file to upload.

    stamp: distinguishes it from another of the same name and size, such as its modification time.
    """

    name: str = Field(min_length=1, max_length=120, examples=["model.safetensors"])
    size: Whole = Field(ge=1, le=2**50, description="bytes")
    stamp: str = Field(default="", max_length=64)


class UploadRequest(Contract):
    """Request to upload a model, which becomes `local:<name>`."""

    name: str = Field(pattern=MODEL_NAME, examples=["my-vit"])
    files: list[UploadFile] = Field(min_length=1, max_length=500)


class UploadedFile(UploadFile):
    """A file of an upload. done: number of bytes received so far; the next piece begins there."""

    done: int


class Upload(Contract):
    """State of an upload. piece: largest number of bytes in one request."""

    id: str
    name: str
    files: list[UploadedFile]
    created: datetime
    piece: int
