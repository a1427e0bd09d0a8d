"""Runs, trials and added tasks in the database: the truth about what was asked and what came of it.

A status only moves forward: an update names the statuses it may start from, so that a cancelled run stays
cancelled whatever a worker still writes.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, cast, delete, func, or_, select, update

from backend.store.database import found, new_id, now
from backend.store.deleted_runs import DeletedRuns
from backend.store.failures import Failures
from backend.store.group_records import GroupRecords
from backend.store.progress import pace, seconds_left
from backend.store.tables import OPEN, RunRow, ShardRow
from backend.store.task_records import TaskRecords
from backend.store.trial_records import TrialRecords
from modelshapley.contracts import (
    Effort,
    Layout,
    MapLink,
    Measured,
    Progress,
    Run,
    RunPage,
    RunRequest,
    Status,
)
from modelshapley.errors import Conflict
from modelshapley.units import UnitKind


class Records(TaskRecords, TrialRecords, GroupRecords, DeletedRuns, Failures):
    """Runs, trials, groups and added tasks. Every method is one transaction; safe from threads and processes."""

    # -- runs -----------------------------------------------------------------------------------

    def add_run(self, request: RunRequest, shapes: dict[UnitKind, list[int]], layout: Layout) -> Run:
        row = RunRow(
            id=new_id(),
            model=request.model,
            task=request.task,
            methods=request.methods,
            units=[kind.value for kind in request.units],
            limit=request.limit,
            seed=request.seed,
            shards=request.shards,
            per_class=request.per_class,
            faithfulness=request.faithfulness,
            status=Status.QUEUED,
            shapes={kind.value: shape for kind, shape in shapes.items()},
            layout=layout.model_dump(mode="json"),
            created=now(),
        )
        with self._session() as session:
            session.add(row)
            session.flush()
            return _run(row)

    def run(self, run_id: str) -> Run:
        """Raises NotFound."""
        with self._session() as session:
            return _run(found(session.get(RunRow, run_id), "run", run_id))

    def runs(
        self, limit: int, offset: int, search: str = "", status: Status | None = None, deleted: bool = False
    ) -> RunPage:
        """Runs, newest first: those whose model, task or methods hold every word of `search`, in whatever case.

        deleted: those that were deleted, in the place of those that were not.
        """
        wanted: list[ColumnElement[bool]] = [RunRow.deleted.is_not(None) if deleted else RunRow.deleted.is_(None)]
        if status is not None:
            wanted.append(RunRow.status == status)
        told = (RunRow.model, RunRow.task, cast(RunRow.methods, String))
        for word in search.split():
            wanted.append(or_(*(column.icontains(word, autoescape=True) for column in told)))
        newest = select(RunRow).where(*wanted).order_by(RunRow.created.desc(), RunRow.id)
        with self._session() as session:
            rows = session.scalars(newest.limit(limit).offset(offset))
            total = session.scalar(select(func.count()).select_from(RunRow).where(*wanted)) or 0
            return RunPage(items=[_run(row) for row in rows], total=total, limit=limit, offset=offset)

    def delete_run(self, run_id: str) -> Run:
        """Out of the lists until it is brought back; again changes nothing. Raises NotFound, Conflict (open)."""
        with self._session() as session:
            row = found(session.get(RunRow, run_id), "run", run_id)
            if row.status in OPEN:
                raise Conflict(
                    f"Run {run_id} is {row.status}; cancel it before you delete it (DELETE /api/v1/runs/{run_id})."
                )
            row.deleted = row.deleted or now()
            return _run(row)

    def bring_back(self, run_id: str, since: datetime) -> Run:
        """Undo the deletion of a run. Raises NotFound, and Conflict where it was deleted before `since`."""
        with self._session() as session:
            row = found(session.get(RunRow, run_id), "run", run_id)
            if row.deleted is not None and row.deleted < since:
                raise Conflict(f"Run {run_id} was deleted too long ago and is being removed; score it again.")
            row.deleted = None
            return _run(row)

    def finished_runs(self, model: str, limit: int) -> list[tuple[Run, float]]:
        """The newest that one worker did, each with the examples a second that it scored, loading not counted.

        Deleted ones too: what they tell of speed stays true.
        """
        query = (
            select(RunRow, ShardRow.rate)
            .join(ShardRow, ShardRow.run == RunRow.id)
            .where(RunRow.model == model, RunRow.status == Status.DONE, RunRow.shards == 1, ShardRow.rate > 0)
        )
        with self._session() as session:
            rows = session.execute(query.order_by(RunRow.created.desc()).limit(limit))
            return [(_run(row), float(rate)) for row, rate in rows if rate]

    def unfinished_runs(self) -> list[Run]:
        with self._session() as session:
            return [_run(row) for row in session.scalars(select(RunRow).where(RunRow.status.in_(OPEN)))]

    def unfinished_shards(self, run: Run) -> list[int]:
        """Numbers of the shards of a run that still have examples to add up."""
        with self._session() as session:
            rows = session.scalars(select(ShardRow).where(ShardRow.run == run.id, ShardRow.done == ShardRow.size))
            finished = {row.number for row in rows}
        return [number for number in range(1, run.shards + 1) if number not in finished]

    def begin_run(self, run_id: str, worker: str) -> Run | None:
        """A worker has a run, or a shard of it, in hand; None where the run is not open any more."""
        started = func.coalesce(RunRow.started, now())
        return self.update_run(run_id, status=Status.RUNNING, worker=worker, started=started)

    def update_shard(
        self, run_id: str, number: int, *, done: int, size: int, rate: float | None, total: int
    ) -> Run | None:
        """How far a shard of an open run is, and with it the run: the sum over its shards.

        done: of the shard's `size` examples; rate: examples a second, None before it is known; total: examples of
        the whole run. None where the run is not open any more.
        """
        with self._session() as session:
            # First, so that the run's row is locked and shards that report at the same time take turns.
            held = update(RunRow).where(RunRow.id == run_id, RunRow.status.in_(OPEN)).values(total=total)
            if session.execute(held).rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            moment = now()
            session.merge(ShardRow(run=run_id, number=number, done=done, size=size, rate=rate, told=moment))
            session.flush()
            shards = session.scalars(select(ShardRow).where(ShardRow.run == run_id)).all()
            row = found(session.get(RunRow, run_id), "run", run_id)
            row.done, row.eta_s = sum(shard.done for shard in shards), seconds_left(shards, total, moment)
            return _run(row)

    def update_run(self, run_id: str, *, of: Collection[Status] = OPEN, **values: Any) -> Run | None:
        """Set columns if the run's status is one of `of`; None where it is not."""
        if Status(values.get("status", Status.QUEUED)).ended:
            values |= {"finished": now(), "eta_s": None}
        with self._session() as session:
            changed = session.execute(update(RunRow).where(RunRow.id == run_id, RunRow.status.in_(of)).values(**values))
            if changed.rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            return _run(found(session.get(RunRow, run_id), "run", run_id))

    def unchecked_runs(self) -> list[Run]:
        """Finished runs whose maps are still to be checked."""
        with self._session() as session:
            rows = session.scalars(select(RunRow).where(RunRow.status == Status.DONE, RunRow.checks.in_(OPEN)))
            return [_run(row) for row in rows]

    def update_checks(self, run_id: str, checks: Status) -> Run | None:
        """How far the check of a finished run's maps is; None where it has ended already."""
        with self._session() as session:
            row = session.get(RunRow, run_id)
            if row is None or row.checks not in OPEN:
                return None
            row.checks = checks
            return _run(row)

    def ask_check(self, run_id: str, effort: Effort) -> Run | None:
        """A finished run's maps are to be checked; None where a check waits or runs already."""
        idle = or_(RunRow.checks.is_(None), RunRow.checks.not_in(OPEN))
        wanted = update(RunRow).where(RunRow.id == run_id, RunRow.status == Status.DONE, idle)
        with self._session() as session:
            changed = session.execute(wanted.values(faithfulness=effort, checks=Status.QUEUED))
            if changed.rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            return _run(found(session.get(RunRow, run_id), "run", run_id))

    def forget_check(self, before: Run) -> None:
        """Take back :meth:`ask_check`: the run is as it was `before`."""
        self.update_run(before.id, of=(Status.DONE,), faithfulness=before.faithfulness, checks=before.checks)

    def revision(self, run_id: str) -> str | None:
        """Identity of the model that a run scored; None before it is known. Raises NotFound."""
        with self._session() as session:
            return found(session.get(RunRow, run_id), "run", run_id).revision

    def drop_run(self, run_id: str) -> None:
        """Forget a run that could not be enqueued."""
        with self._session() as session:
            session.execute(delete(ShardRow).where(ShardRow.run == run_id))
            session.delete(found(session.get(RunRow, run_id), "run", run_id))


def _run(row: RunRow) -> Run:
    shapes = {UnitKind(kind): shape for kind, shape in row.shapes.items()}
    links = [
        MapLink(
            method=method,
            unit=UnitKind(unit),
            shape=row.shapes[unit],
            href=f"/api/v1/runs/{row.id}/maps/{method}/{unit}",
        )
        for method in row.methods
        for unit in row.units
    ]
    return Run(
        id=row.id,
        model=row.model,
        task=row.task,
        methods=row.methods,
        units=[UnitKind(unit) for unit in row.units],
        limit=row.limit,
        seed=row.seed,
        shards=row.shards,
        per_class=row.per_class,
        faithfulness=row.faithfulness,
        checks=Status(row.checks) if row.checks else None,
        status=Status(row.status),
        progress=Progress(done=row.done, total=row.total, eta_s=row.eta_s, rate=pace(row.total - row.done, row.eta_s)),
        error=row.error,
        maps=links if row.status == Status.DONE else [],
        classes=row.classes or {},
        shapes=shapes,
        layout=Layout.model_validate(row.layout or {}),
        intact=Measured.model_validate(row.intact) if row.intact else None,
        task_fingerprint=row.task_fingerprint,
        notes=row.notes or [],
        worker=row.worker,
        created=row.created,
        started=row.started,
        finished=row.finished,
        deleted=row.deleted,
    )
