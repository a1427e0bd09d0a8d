"""Trials in the database."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.store.database import Database, found, new_id, now
from backend.store.tables import OPEN, RunRow, TrialRow
from modelshapley.contracts import Comparison, Off, Status, Trial
from modelshapley.evaluation.intervals import precise_enough
from modelshapley.units import OFF, Deactivation, Treatment


class Waiting(NamedTuple):
    """What it takes to queue a trial. turn: how often it has given way to other people's."""

    trial: str
    model: str
    turn: int


class Begun(NamedTuple):
    """A trial in a worker's hands. answers: those to its first examples, where it goes on after some."""

    trial: Trial
    answers: bytes | None


class TrialRecords(Database):
    """Trials. A status only moves forward, and every change counts up the trial's `sequence`."""

    def ask_trial(
        self,
        run_id: str,
        deactivation: Deactivation,
        session_name: str | None = None,
        half_width: float | None = None,
        predicted: Mapping[str, float] | None = None,
    ) -> Trial:
        """A trial of a run that is done; it is done itself where an equal one was measured well enough before.

        Equal: the same units treated alike in the same model on the same examples, whatever run or person it was
        measured for. Where it was measured on too few examples, the new one goes on after them. Raises NotFound.
        """
        key = _key(deactivation)
        with self._session() as session:
            run = found(session.get(RunRow, run_id), "run", run_id)
            known = _widest(session, run, key)
            enough = known is not None and _enough(known, half_width)
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
        """Raises NotFound."""
        with self._session() as session:
            return _trial(found(session.get(TrialRow, trial_id), "trial", trial_id))

    def trial_answers(self, trial_id: str) -> bytes | None:
        """How right each example is that a trial has measured, packed; None where they were not kept."""
        with self._session() as session:
            return found(session.get(TrialRow, trial_id), "trial", trial_id).answers

    def trials(self, run_id: str, limit: int, of: Deactivation | None = None) -> list[Trial]:
        """Trials of a run, newest first, without those that were superseded. Raises NotFound.

        of: only those of just this deactivation.
        """
        query = (
            select(TrialRow)
            .where(TrialRow.run == run_id, TrialRow.status != Status.CANCELLED)
            .order_by(TrialRow.created.desc(), TrialRow.id)
        )
        if of is not None:
            query = query.where(TrialRow.key == _key(of))
        with self._session() as session:
            found(session.get(RunRow, run_id), "run", run_id)
            return [_trial(row) for row in session.scalars(query.limit(limit))]

    def waiting_trials(self) -> list[Waiting]:
        """Trials still to be measured."""
        query = select(TrialRow, RunRow.model).join(RunRow, RunRow.id == TrialRow.run)
        with self._session() as session:
            rows = session.execute(query.where(TrialRow.status.in_(OPEN)).order_by(TrialRow.created))
            return [Waiting(row.id, model, row.turn) for row, model in rows]

    def open_trials(self, session_name: str) -> list[str]:
        """Ids of a session's trials that are still to be measured."""
        query = select(TrialRow.id).where(TrialRow.session == session_name, TrialRow.status.in_(OPEN))
        with self._session() as session:
            return list(session.scalars(query))

    def begin_trial(self, trial_id: str, turn: int, worker: str) -> Begun | None:
        """A worker has an open trial in hand for its turn; None where that turn is over.

        Where another had it in hand, that one was lost: what it told is void, and it is counted.
        """
        with self._session() as session:
            taken = update(TrialRow).where(TrialRow.id == trial_id, TrialRow.turn == turn, TrialRow.status.in_(OPEN))
            more = {"status": Status.RUNNING, "sequence": TrialRow.sequence + 1}
            if session.execute(taken.values(**more)).rowcount == 0:  # type: ignore[attr-defined]  # as in update_trial
                return None
            row = found(session.get(TrialRow, trial_id), "trial", trial_id)
            if row.worker is not None:
                row.restarts += 1
                row.n, row.result = 0, None
            row.worker = worker
            session.flush()
            return Begun(_trial(row), row.answers)

    def update_trial(self, trial_id: str, *, of: Collection[Status] = OPEN, **values: Any) -> Trial | None:
        """Set columns if the trial's status is one of `of`; None where it is not."""
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
            return _trial(found(session.get(TrialRow, trial_id), "trial", trial_id))

    def put_trial_back(self, trial_id: str, answers: bytes) -> Waiting | None:
        """A trial gives way after `answers`; what queues its next turn, or None where it is not open any more."""
        with self._session() as session:
            row = session.get(TrialRow, trial_id)
            if row is None or row.status not in OPEN:
                return None
            row.turn, row.worker, row.answers = row.turn + 1, None, answers
            return Waiting(row.id, found(session.get(RunRow, row.run), "run", row.run).model, row.turn)

    def drop_trial(self, trial_id: str) -> None:
        """Forget a trial that could not be enqueued."""
        with self._session() as session:
            session.delete(found(session.get(TrialRow, trial_id), "trial", trial_id))


def _widest(session: Session, run: RunRow, key: str) -> TrialRow | None:
    """Of equal trials that are done, that on the most examples."""
    query = select(TrialRow).where(TrialRow.key == key, TrialRow.status == Status.DONE)
    if run.revision is None or run.task_fingerprint is None:  # scored before these were recorded
        query = query.where(TrialRow.run == run.id)
    else:
        query = query.join(RunRow, RunRow.id == TrialRow.run).where(
            RunRow.model == run.model,
            RunRow.revision == run.revision,
            RunRow.task_fingerprint == run.task_fingerprint,
            RunRow.seed == run.seed,
        )
    # Of equals, one of this run: it is answered as it is.
    return session.scalars(query.order_by(TrialRow.n.desc(), (TrialRow.run != run.id)).limit(1)).first()


def _enough(row: TrialRow, half_width: float | None) -> bool:
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
        created=row.created,
        finished=row.finished,
        **result,
    )
