"""HTTP errors of the dashboard's own routes."""

from __future__ import annotations

from fastapi import HTTPException

from modelshapley.client import ApiError
from modelshapley.errors import Conflict, ModelShapleyError, NotFound


def refused(error: ModelShapleyError) -> HTTPException:
    """Turn an error of the library or the API into an HTTP error with the same message."""
    if isinstance(error, ApiError):
        return HTTPException(error.problem.status, error.problem.detail)
    return HTTPException(
        404 if isinstance(error, NotFound) else 409 if isinstance(error, Conflict) else 503, str(error)
    )
