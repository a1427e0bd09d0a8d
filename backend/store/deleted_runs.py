"""Runs that were deleted: kept for a while so that it can be undone, then removed with all that hangs on them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select

from backend.store.database import Database
from backend.store.tables import RunRow, ShardRow, TrialRow
from modelshapley.contracts import Status


class DeletedRuns(Database):
    """What to remove for good, and the removing. Deleting and bringing back are in Records."""

    def overdue_runs(self, before: datetime) -> list[str]:
        """Ids of runs that were deleted before a moment; one whose maps a worker is checking is left for later."""
        query = select(RunRow.id).where(
            RunRow.deleted < before, RunRow.checks.is_(None) | (RunRow.checks != Status.RUNNING)
        )
        with self._session() as session:
            return list(session.scalars(query))

    def purge_run(self, run_id: str, before: datetime) -> None:
        """Remove a run's rows for good; nothing where it is gone, or was not deleted before the moment."""
        mine = select(RunRow.id).where(RunRow.id == run_id, RunRow.deleted < before).scalar_subquery()
        with self._session() as session:
            session.execute(delete(TrialRow).where(TrialRow.run == mine))
            session.execute(delete(ShardRow).where(ShardRow.run == mine))
            session.execute(delete(RunRow).where(RunRow.id == run_id, RunRow.deleted < before))
