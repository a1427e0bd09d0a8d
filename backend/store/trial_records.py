"""Records of trials."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.store.database import Database, new_id, now, require
from backend.store.tables import OPEN, RunRow, TrialRow
from modelshapley.contracts import Comparison, Off, Status, Trial
from modelshapley.evaluation.intervals import precise_enough
from modelshapley.units import OFF, Deactivation, Treatment


class TrialJob(NamedTuple):
    """Arguments to queue a trial. turn: how often it has yielded to trials of other users."""

    trial: str
    model: str
    turn: int
    owner: str | None = None


class StartedTrial(NamedTuple):
    """A trial that a worker has started. answers: outcomes of its first examples, if it continues after some."""

    trial: Trial
    answers: bytes | None


class TrialRecords(Database):
    """Records of trials. A status only moves forward, and every change increments the trial's `sequence`."""

    def request_trial(
        self,
        run_id: str,
        deactivation: Deactivation,
        session_name: str | None = None,
        half_width: float | None = None,
        predicted: Mapping[str, float] | None = None,
        owner: str | None = None,
        leased: bool = False,
    ) -> Trial:
        """Create a trial of a finished run; it is done at once if an equal one was measured precisely enough before.

        Equal trials treat the same units alike in the same model on the same examples, for any run or user. If the
        earlier one has too few examples, the new trial continues after them. Raises NotFound.
        """
        key = _key(deactivation)
        with self._session() as session:
            run = require(session.get(RunRow, run_id), "run", run_id)
            known = _largest_equal(session, run, key)
            enough = known is not None and _is_enough(known, half_width)
            if known is not None and enough and known.run == run_id:
                return _trial(known)
            row = TrialRow(
                id=new_id(),
                run=run_id,
                session=session_name,
                key=key,
                off=Off.from_deactivation(deactivation).model_dump(mode="json"),
                treatment=None if deactivation.treatment == OFF else vars(deactivation.treatment),
                half_width=half_width,
                predicted=dict(predicted or {}) or None,
                owner=owner,
                leased=leased,
                status=Status.DONE if enough else Status.QUEUED,
                created=now(),
                finished=now() if enough else None,
            )
            if known is not None:
                for name in ("n", "total", "result", "answers", "recomputed"):
                    setattr(row, name, getattr(known, name))
            session.add(row)
            session.flush()
            return _trial(row)

    def trial(self, trial_id: str) -> Trial:
        """Return a trial. Raises NotFound."""
        with self._session() as session:
            return _trial(require(session.get(TrialRow, trial_id), "trial", trial_id))

    def trial_answers(self, trial_id: str) -> bytes | None:
        """Return the packed outcomes of a trial; None if they were not stored."""
        with self._session() as session:
            return require(session.get(TrialRow, trial_id), "trial", trial_id).answers

    def trials(self, run_id: str, limit: int, of: Deactivation | None = None) -> list[Trial]:
        """List the trials of a run, newest first, without superseded ones. Raises NotFound.

        of: only those of exactly this deactivation.
        """
        query = (
            select(TrialRow)
            .where(TrialRow.run == run_id, TrialRow.status != Status.CANCELLED)
            .order_by(TrialRow.created.desc(), TrialRow.id)
        )
        if of is not None:
            query = query.where(TrialRow.key == _key(of))
        with self._session() as session:
            require(session.get(RunRow, run_id), "run", run_id)
            return [_trial(row) for row in session.scalars(query.limit(limit))]

    def leased_trials(self, trial_ids: Collection[str]) -> list[str]:
        """Return those of the trials that end once no page follows them."""
        with self._session() as session:
            return list(session.scalars(select(TrialRow.id).where(TrialRow.id.in_(trial_ids), TrialRow.leased)))

    def waiting_trials(self) -> list[TrialJob]:
        """List the trials still to be measured."""
        query = select(TrialRow, RunRow.model).join(RunRow, RunRow.id == TrialRow.run)
        with self._session() as session:
            rows = session.execute(query.where(TrialRow.status.in_(OPEN)).order_by(TrialRow.created))
            return [TrialJob(row.id, model, row.turn, row.owner) for row, model in rows]

    def open_trials(self, session_name: str) -> list[str]:
        """Return the ids of a session's trials that are still to be measured."""
        query = select(TrialRow.id).where(TrialRow.session == session_name, TrialRow.status.in_(OPEN))
        with self._session() as session:
            return list(session.scalars(query))

    def begin_trial(self, trial_id: str, turn: int, worker: str) -> StartedTrial | None:
        """Record that a worker measures an open trial in its turn; None if that turn is over.

        If another worker had the trial, it was lost: its unfinished results are discarded, and `restarts` counts it.
        """
        with self._session() as session:
            query = update(TrialRow).where(TrialRow.id == trial_id, TrialRow.turn == turn, TrialRow.status.in_(OPEN))
            changes = {"status": Status.RUNNING, "sequence": TrialRow.sequence + 1}
            # as in update_trial
            if session.execute(query.values(**changes)).rowcount == 0:  # type: ignore[attr-defined]
                return None
            row = require(session.get(TrialRow, trial_id), "trial", trial_id)
            if row.worker is not None:
                row.restarts += 1
                row.n, row.result = 0, None
            row.worker = worker
            session.flush()
            return StartedTrial(_trial(row), row.answers)

    def update_trial(self, trial_id: str, *, of: Collection[Status] = OPEN, **values: Any) -> Trial | None:
        """Set columns if the trial's status is one of `of`; else return None."""
        if Status(values.get("status", Status.QUEUED)).ended:
            values |= {"finished": now(), "worker": None}
        with self._session() as session:
            changed = session.execute(
                update(TrialRow)
                .where(TrialRow.id == trial_id, TrialRow.status.in_(of))
                .values(sequence=TrialRow.sequence + 1, **values)
            )
            if changed.rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            return _trial(require(session.get(TrialRow, trial_id), "trial", trial_id))

    def yield_trial(self, trial_id: str, answers: bytes) -> TrialJob | None:
        """Record that a trial yields after `answers`; return the job of its next turn, or None if it is not open any
        more.
        """
        with self._session() as session:
            row = session.get(TrialRow, trial_id)
            if row is None or row.status not in OPEN:
                return None
            row.turn, row.worker, row.answers = row.turn + 1, None, answers
            return TrialJob(row.id, require(session.get(RunRow, row.run), "run", row.run).model, row.turn, row.owner)

    def drop_trial(self, trial_id: str) -> None:
        """Remove a trial that could not be enqueued."""
        with self._session() as session:
            session.delete(require(session.get(TrialRow, trial_id), "trial", trial_id))


def _largest_equal(session: Session, run: RunRow, key: str) -> TrialRow | None:
    """Return the finished equal trial with the most examples."""
    query = select(TrialRow).where(TrialRow.key == key, TrialRow.status == Status.DONE)
    if run.revision is None or run.task_fingerprint is None:  # a run older than these columns
        query = query.where(TrialRow.run == run.id)
    else:
        query = query.join(RunRow, RunRow.id == TrialRow.run).where(
            RunRow.model == run.model,
            RunRow.revision == run.revision,
            RunRow.task_fingerprint == run.task_fingerprint,
            RunRow.seed == run.seed,
        )
    # Among equals prefer one of this run, which can be returned unchanged.
    return session.scalars(query.order_by(TrialRow.n.desc(), (TrialRow.run != run.id)).limit(1)).first()


def _is_enough(row: TrialRow, half_width: float | None) -> bool:
    if row.n == row.total:
        return True
    return half_width is not None and precise_enough(Comparison.model_validate(row.result), half_width)


def _key(deactivation: Deactivation) -> str:
    return hashlib.sha256(deactivation.key().encode()).hexdigest()


def _trial(row: TrialRow) -> Trial:
    off, treatment = Off.model_validate(row.off), Treatment(**row.treatment) if row.treatment else OFF
    result = Comparison.model_validate(row.result).model_dump(exclude={"n"}) if row.result else {}
    return Trial(
        id=row.id,
        run=row.run,
        status=Status(row.status),
        off=off,
        treatment=treatment,
        counts=off.deactivation().counts(),
        half_width=row.half_width,
        n=row.n,
        total=row.total,
        sequence=row.sequence,
        predicted=row.predicted or {},
        recomputed=row.recomputed,
        restarts=row.restarts,
        error=row.error,
        owner=row.owner,
        leased=row.leased,
        created=row.created,
        finished=row.finished,
        **result,
    )
