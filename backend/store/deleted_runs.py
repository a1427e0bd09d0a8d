"""Deleted runs: kept for a while so that deletion can be undone, then removed with everything that depends on them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select

from backend.store.database import Database, now
from backend.store.tables import OPEN, RunRow, ShardRow, TrialRow
from modelshapley.contracts import Status


class DeletedRuns(Database):
    """Permanent removal of deleted runs. Deleting and restoring are in Records."""

    def overdue_runs(self, before: datetime) -> list[str]:
        """Return the ids of runs deleted before a moment, except those whose maps a worker is checking."""
        query = select(RunRow.id).where(
            RunRow.deleted < before, RunRow.checks.is_(None) | (RunRow.checks != Status.RUNNING)
        )
        with self._session() as session:
            return list(session.scalars(query))

    def expire_runs(self, before: datetime) -> list[str]:
        """Mark the runs as deleted that ended before a moment, except those whose check is open; return their ids."""
        idle = RunRow.checks.is_(None) | RunRow.checks.not_in(OPEN)
        ended = (RunRow.finished < before) & RunRow.status.not_in(OPEN) & RunRow.deleted.is_(None) & idle
        with self._session() as session:
            rows = session.scalars(select(RunRow).where(ended)).all()
            for row in rows:
                row.deleted = now()
            return [row.id for row in rows]

    def expire_trials(self, before: datetime) -> int:
        """Remove the trials that ended before a moment; return how many."""
        ended = delete(TrialRow).where(TrialRow.finished < before, TrialRow.status.not_in(OPEN))
        with self._session() as session:
            return int(session.execute(ended).rowcount)  # type: ignore[attr-defined]  # a CursorResult for every DELETE

    def purge_run(self, run_id: str, before: datetime) -> None:
        """Remove a run's rows permanently; do nothing if it is gone, or was not deleted before the moment."""
        this_run = select(RunRow.id).where(RunRow.id == run_id, RunRow.deleted < before).scalar_subquery()
        with self._session() as session:
            session.execute(delete(TrialRow).where(TrialRow.run == this_run))
            session.execute(delete(ShardRow).where(ShardRow.run == this_run))
            session.execute(delete(RunRow).where(RunRow.id == run_id, RunRow.deleted < before))
