"""What failed lately: runs, trials and checks of maps, newest first."""

from __future__ import annotations

from sqlalchemy import select

from backend.store.database import Database
from backend.store.tables import RunRow, TrialRow
from modelshapley.contracts import Failure, Status

REPORT_SAYS = "The check of its maps failed; its report says why."


class Failures(Database):
    """Of runs that were not deleted."""

    def failures(self, limit: int) -> list[Failure]:
        """At most `limit`. Why a check failed is in its run's report, not services."""
        kept = RunRow.deleted.is_(None)
        runs = select(RunRow).where(kept, RunRow.status == Status.FAILED).order_by(RunRow.finished.desc())
        checks = select(RunRow).where(kept, RunRow.checks == Status.FAILED).order_by(RunRow.finished.desc())
        trials = (
            select(TrialRow, RunRow)
            .join(RunRow, RunRow.id == TrialRow.run)
            .where(kept, TrialRow.status == Status.FAILED)
            .order_by(TrialRow.finished.desc())
        )
        with self._session() as session:
            found = [
                *(_of(row, "run", row.id, row.error) for row in session.scalars(runs.limit(limit))),
                *(_of(row, "check", row.id, REPORT_SAYS) for row in session.scalars(checks.limit(limit))),
            ]
            for trial, run in session.execute(trials.limit(limit)):
                failure = _of(run, "trial", trial.id, trial.error)
                found.append(failure.model_copy(update={"at": trial.finished or trial.created}))
        return sorted(found, key=lambda failure: failure.at, reverse=True)[:limit]


def _of(run: RunRow, kind: str, identifier: str, error: str | None) -> Failure:
    return Failure(
        kind=kind,
        id=identifier,
        run=run.id,
        model=run.model,
        task=run.task,
        error=error or "no reason was recorded",
        at=run.finished or run.created,
    )
