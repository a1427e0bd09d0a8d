"""Uploads of models and of data, file by file."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

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
    """Request to upload a model, which becomes `local:<name>`, or data for tasks, which `uploads/<name>` then names."""

    kind: Literal["model", "data"] = "model"
    name: str = Field(pattern=MODEL_NAME, examples=["my-vit"])
    files: list[UploadFile] = Field(min_length=1, max_length=500)


class UploadedFile(UploadFile):
    """A file of an upload. done: number of bytes received so far; the next piece begins there."""

    done: int


class Upload(Contract):
    """State of an upload. piece: largest number of bytes in one request.

    state: 'checking' while the server reads complete data, 'failed' with the reason in `problem`. checked: share of the
    data that is read, 0 to 1.
    """

    id: str
    kind: Literal["model", "data"] = "model"
    name: str
    files: list[UploadedFile]
    created: datetime
    piece: int
    state: Literal["receiving", "checking", "failed"] = "receiving"
    checked: float = 0.0
    problem: str | None = None


class DataColumn(Contract):
    """A column of uploaded data. kind: what its first value is."""

    name: str
    kind: Literal["text", "number", "list", "image", "other"]


class DataSplit(Contract):
    """A split of uploaded data, with its number of rows or pictures."""

    name: str = Field(examples=["train"])
    rows: int


class Dataset(Contract):
    """Uploaded data, as `source: {path: <path>}` of a task reads them.

    splits: a single one called `all` for data without splits. first: the first rows, each value as a short text.
    classes: class folders of pictures. left_out: members of a zip file that are no pictures.
    """

    name: str = Field(examples=["sums"])
    path: str = Field(examples=["uploads/sums"])
    form: Literal["table", "pictures"]
    splits: list[DataSplit]
    columns: list[DataColumn]
    first: list[dict[str, str]] = []
    classes: list[str] = []
    left_out: list[str] = []
    bytes: int
    created: datetime
