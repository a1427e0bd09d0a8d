"""Errors of the library and of the API as answers of the dashboard's own routes."""

from __future__ import annotations

from fastapi import HTTPException

from modelshapley.client import ApiError
from modelshapley.errors import ModelShapleyError, NotFound, NotNow


def refused(error: ModelShapleyError) -> HTTPException:
    """The same words, with the status that fits."""
    if isinstance(error, ApiError):
        return HTTPException(error.problem.status, error.problem.detail)
    return HTTPException(
        404 if isinstance(error, NotFound) else 409 if isinstance(error, NotNow) else 503, str(error)
    )
