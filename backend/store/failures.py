"""Recent failures of runs, trials and checks of maps, newest first."""

from __future__ import annotations

from sqlalchemy import select

from backend.store.database import Database
from backend.store.tables import RunRow, TrialRow
from modelshapley.contracts import Failure, Status

SEE_REPORT = "The check of its maps failed; its report says why."


class Failures(Database):
    """Failures of runs that were not deleted."""

    def failures(self, limit: int) -> list[Failure]:
        """List at most `limit` failures. The reason of a failed check is in its run's report, not in the database."""
        not_deleted = RunRow.deleted.is_(None)
        runs = select(RunRow).where(not_deleted, RunRow.status == Status.FAILED).order_by(RunRow.finished.desc())
        checks = select(RunRow).where(not_deleted, RunRow.checks == Status.FAILED).order_by(RunRow.finished.desc())
        trials = (
            select(TrialRow, RunRow)
            .join(RunRow, RunRow.id == TrialRow.run)
            .where(not_deleted, TrialRow.status == Status.FAILED)
            .order_by(TrialRow.finished.desc())
        )
        with self._session() as session:
            failures = [
                *(_failure(row, "run", row.id, row.error) for row in session.scalars(runs.limit(limit))),
                *(_failure(row, "check", row.id, SEE_REPORT) for row in session.scalars(checks.limit(limit))),
            ]
            for trial, run in session.execute(trials.limit(limit)):
                failure = _failure(run, "trial", trial.id, trial.error)
                failures.append(failure.model_copy(update={"at": trial.finished or trial.created}))
        return sorted(failures, key=lambda failure: failure.at, reverse=True)[:limit]


def _failure(run: RunRow, kind: str, identifier: str, error: str | None) -> Failure:
    return Failure(
        kind=kind,
        id=identifier,
        run=run.id,
        model=run.model,
        task=run.task,
        error=error or "no reason was recorded",
        at=run.finished or run.created,
    )
