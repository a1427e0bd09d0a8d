"""Errors of the API."""

from __future__ import annotations

from pydantic import BaseModel

from modelshapley.contracts.base import Contract


class FieldError(Contract):
    """An invalid field of a request."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details: the one shape of every error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
