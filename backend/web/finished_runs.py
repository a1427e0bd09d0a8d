"""Refuse new work on runs that are not done, or were deleted: their models may be gone."""

from __future__ import annotations

from modelshapley.contracts import Run, Status
from modelshapley.errors import Conflict


def finished(run: Run, possible: str) -> Run:
    """Return the run if it is done and not deleted. possible: what it can be used for then, as a clause.

    Raises Conflict.
    """
    if run.deleted is not None:
        raise Conflict(f"Run {run.id} was deleted; restore it first (DELETE /api/v1/runs/{run.id}/deleted).")
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run.id} is {run.status.value}; {possible} once it is done.")
    return run
