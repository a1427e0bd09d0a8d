"""Models on their way here, file by file."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from modelshapley.contracts.base import Contract

MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class UploadFile(Contract):
    """stamp: whatever tells this file from another of the same name and size, such as when it was changed."""

    name: str = Field(min_length=1, max_length=120, examples=["model.safetensors"])
    size: int = Field(ge=1, le=2**50, description="bytes")
    stamp: str = Field(default="", max_length=64)


class UploadRequest(Contract):
    """A model that is to come: it will be `local:<name>`."""

    name: str = Field(pattern=MODEL_NAME, examples=["my-vit"])
    files: list[UploadFile] = Field(min_length=1, max_length=500)


class UploadedFile(UploadFile):
    """done: bytes that are here, from the first on; the next piece begins there."""

    done: int


class Upload(Contract):
    """How far a model is on its way. piece: the most bytes of one request."""

    id: str
    name: str
    files: list[UploadedFile]
    created: datetime
    piece: int
