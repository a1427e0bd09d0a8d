"""Records of runs, trials and added tasks: the authority on what was requested and what resulted.

A status only moves forward: an update names the statuses it may start from, so that a cancelled run stays
cancelled whatever a worker writes later.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, cast, delete, func, or_, select, update

from backend.store.database import new_id, now, require
from backend.store.deleted_runs import DeletedRuns
from backend.store.derived_records import DerivedRecords
from backend.store.failures import Failures
from backend.store.group_records import GroupRecords
from backend.store.key_records import KeyRecords
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
    RunLabels,
    RunOrder,
    RunPage,
    RunRequest,
    Status,
)
from modelshapley.errors import Conflict
from modelshapley.units import UnitKind


class Records(TaskRecords, TrialRecords, GroupRecords, DerivedRecords, KeyRecords, DeletedRuns, Failures):
    """Records of runs, trials, groups, derived models, keys and added tasks.

    Every method is one transaction; safe in threads and processes.
    """

    # -- runs -----------------------------------------------------------------------------------

    def add_run(
        self, request: RunRequest, shapes: dict[UnitKind, list[int]], layout: Layout, owner: str | None = None
    ) -> Run:
        """Add a queued run. owner: name of the key that submits it."""
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
            owner=owner,
            created=now(),
        )
        with self._session() as session:
            session.add(row)
            session.flush()
            return _run(row)

    def run(self, run_id: str) -> Run:
        """Return a run. Raises NotFound."""
        with self._session() as session:
            return _run(require(session.get(RunRow, run_id), "run", run_id))

    def runs(
        self,
        limit: int,
        offset: int,
        search: str = "",
        status: Status | None = None,
        deleted: bool = False,
        tag: str | None = None,
        order: RunOrder = "newest",
    ) -> RunPage:
        """List runs whose name, model, task, methods, tags or comment contain every word of `search`, ignoring case.

        deleted: list the deleted runs instead of the others. tag: only runs with this tag. order: newest first, in all
        or within each model or combination of tags; runs without tags last.
        """
        conditions: list[ColumnElement[bool]] = [RunRow.deleted.is_not(None) if deleted else RunRow.deleted.is_(None)]
        if status is not None:
            conditions.append(RunRow.status == status)
        if tag is not None:
            # The JSON of a list holds each tag in its quotes, and no other quote that is not escaped.
            conditions.append(cast(RunRow.tags, String).contains(json.dumps(tag), autoescape=True))
        tags = cast(RunRow.tags, String)
        searched = (RunRow.name, RunRow.model, RunRow.task, cast(RunRow.methods, String), tags, RunRow.comment)
        for word in search.split():
            conditions.append(or_(*(column.icontains(word, autoescape=True) for column in searched)))
        first: dict[RunOrder, tuple[ColumnElement[Any], ...]] = {
            "newest": (),
            "model": (RunRow.model.expression,),
            "tag": (func.coalesce(tags, "[]") == "[]", tags),
            "owner": (RunRow.owner.is_(None), RunRow.owner.expression),
        }
        query = select(RunRow).where(*conditions).order_by(*first[order], RunRow.created.desc(), RunRow.id)
        with self._session() as session:
            rows = session.scalars(query.limit(limit).offset(offset))
            total = session.scalar(select(func.count()).select_from(RunRow).where(*conditions)) or 0
            return RunPage(items=[_run(row) for row in rows], total=total, limit=limit, offset=offset)

    def label_run(self, run_id: str, labels: RunLabels) -> Run:
        """Set the labels that the request has. Raises NotFound."""
        with self._session() as session:
            row = require(session.get(RunRow, run_id), "run", run_id)
            for field, value in labels.model_dump(exclude_unset=True).items():
                setattr(row, field, value or None)
            return _run(row)

    def delete_run(self, run_id: str) -> Run:
        """Mark a run as deleted until it is restored; repeating it changes nothing.

        Raises NotFound, Conflict (open run).
        """
        with self._session() as session:
            row = require(session.get(RunRow, run_id), "run", run_id)
            if row.status in OPEN:
                raise Conflict(
                    f"Run {run_id} is {row.status}; cancel it before you delete it (DELETE /api/v1/runs/{run_id})."
                )
            row.deleted = row.deleted or now()
            return _run(row)

    def restore_run(self, run_id: str, since: datetime) -> Run:
        """Undo the deletion of a run. Raises NotFound, and Conflict if it was deleted before `since`."""
        with self._session() as session:
            row = require(session.get(RunRow, run_id), "run", run_id)
            if row.deleted is not None and row.deleted < since:
                raise Conflict(f"Run {run_id} was deleted too long ago and is being removed; score it again.")
            row.deleted = None
            return _run(row)

    def finished_runs(self, model: str, limit: int) -> list[tuple[Run, float]]:
        """List the newest runs by a single worker, each with its examples a second, excluding loading.

        Deleted runs count as well, because their speed is still valid.
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
        """Return the numbers of a run's shards that still have examples to score."""
        with self._session() as session:
            rows = session.scalars(select(ShardRow).where(ShardRow.run == run.id, ShardRow.done == ShardRow.size))
            finished = {row.number for row in rows}
        return [number for number in range(1, run.shards + 1) if number not in finished]

    def begin_run(self, run_id: str, worker: str) -> Run | None:
        """Record that a worker processes a run, or a shard of it; None if the run is not open any more."""
        started = func.coalesce(RunRow.started, now())
        return self.update_run(run_id, status=Status.RUNNING, worker=worker, started=started)

    def update_shard(
        self, run_id: str, number: int, *, done: int, size: int, rate: float | None, total: int
    ) -> Run | None:
        """Update the progress of a shard of an open run, and that of the run, the sum over its shards.

        done: number of the shard's `size` examples that are scored. rate: examples a second, None before it is known.
        total: examples of the whole run. Returns None if the run is not open any more.
        """
        with self._session() as session:
            # First update the run, which locks its row, so that concurrent reports of shards are serialised.
            lock = update(RunRow).where(RunRow.id == run_id, RunRow.status.in_(OPEN)).values(total=total)
            if session.execute(lock).rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            moment = now()
            session.merge(ShardRow(run=run_id, number=number, done=done, size=size, rate=rate, told=moment))
            session.flush()
            shards = session.scalars(select(ShardRow).where(ShardRow.run == run_id)).all()
            row = require(session.get(RunRow, run_id), "run", run_id)
            row.done, row.eta_s = sum(shard.done for shard in shards), seconds_left(shards, total, moment)
            return _run(row)

    def update_run(self, run_id: str, *, of: Collection[Status] = OPEN, **values: Any) -> Run | None:
        """Set columns if the run's status is one of `of`; else return None."""
        if Status(values.get("status", Status.QUEUED)).ended:
            values |= {"finished": now(), "eta_s": None}
        with self._session() as session:
            changed = session.execute(update(RunRow).where(RunRow.id == run_id, RunRow.status.in_(of)).values(**values))
            if changed.rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            return _run(require(session.get(RunRow, run_id), "run", run_id))

    def unchecked_runs(self) -> list[Run]:
        """List finished runs whose maps are still to be checked."""
        with self._session() as session:
            rows = session.scalars(select(RunRow).where(RunRow.status == Status.DONE, RunRow.checks.in_(OPEN)))
            return [_run(row) for row in rows]

    def update_checks(self, run_id: str, checks: Status) -> Run | None:
        """Update the state of the check of a finished run; None if it has ended already."""
        with self._session() as session:
            row = session.get(RunRow, run_id)
            if row is None or row.checks not in OPEN:
                return None
            row.checks = checks
            return _run(row)

    def request_check(self, run_id: str, effort: Effort) -> Run | None:
        """Request a check of a finished run's maps; None if a check waits or runs already."""
        idle = or_(RunRow.checks.is_(None), RunRow.checks.not_in(OPEN))
        query = update(RunRow).where(RunRow.id == run_id, RunRow.status == Status.DONE, idle)
        with self._session() as session:
            changed = session.execute(query.values(faithfulness=effort, checks=Status.QUEUED))
            if changed.rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            return _run(require(session.get(RunRow, run_id), "run", run_id))

    def cancel_check(self, run_id: str) -> Run | None:
        """Cancel the check of a run's maps; None if none waits or runs. Raises NotFound."""
        query = update(RunRow).where(RunRow.id == run_id, RunRow.status == Status.DONE, RunRow.checks.in_(OPEN))
        with self._session() as session:
            changed = session.execute(query.values(checks=Status.CANCELLED))
            row = require(session.get(RunRow, run_id), "run", run_id)
            return _run(row) if changed.rowcount else None  # type: ignore[attr-defined]  # as above

    def undo_check_request(self, before: Run) -> None:
        """Undo :meth:`request_check`: restore the run as it was `before`."""
        self.update_run(before.id, of=(Status.DONE,), faithfulness=before.faithfulness, checks=before.checks)

    def revision(self, run_id: str) -> str | None:
        """Return the revision of the model that a run scored; None before it is known. Raises NotFound."""
        with self._session() as session:
            return require(session.get(RunRow, run_id), "run", run_id).revision

    def drop_run(self, run_id: str) -> None:
        """Remove a run that could not be enqueued."""
        with self._session() as session:
            session.execute(delete(ShardRow).where(ShardRow.run == run_id))
            session.delete(require(session.get(RunRow, run_id), "run", run_id))


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
        name=row.name,
        comment=row.comment,
        tags=row.tags or [],
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
        owner=row.owner,
        created=row.created,
        started=row.started,
        finished=row.finished,
        deleted=row.deleted,
    )
