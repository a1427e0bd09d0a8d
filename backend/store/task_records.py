"""Records of the tasks that users added."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError

from backend.store.database import Database, now
from backend.store.tables import RunRow, TaskRow
from modelshapley.contracts import Status
from modelshapley.contracts.task_files.file import TaskFile, parse
from modelshapley.errors import BadTask, Conflict, NotFound

log = logging.getLogger(__name__)
USING_STATUSES = (Status.QUEUED, Status.RUNNING, Status.DONE)
MAX_NAMED_RUNS = 3  # runs that an error message names


class TaskRecords(Database):
    """Records of added task files by name."""

    def tasks(self) -> dict[str, TaskFile]:
        """Return the added tasks, oldest first.

        The log names those that this version cannot read, which are skipped.
        """
        with self._session() as session:
            rows = session.scalars(select(TaskRow).order_by(TaskRow.created, TaskRow.name)).all()
        specs: dict[str, TaskFile] = {}
        for row in rows:
            try:
                specs[row.name] = parse(row.spec, row.name)
            except BadTask as error:
                log.error("skipping an added task: %s", error)
        return specs

    def add_task(self, spec: TaskFile) -> None:
        """Add a task; adding an equal one again changes nothing. Raises Conflict if another one has its name."""
        data = spec.model_dump(mode="json")
        try:
            with self._session() as session:
                session.add(TaskRow(name=spec.name, spec=data, created=now()))
        except IntegrityError:
            if self.tasks().get(spec.name) != spec:
                raise Conflict(
                    f"Another task is called {spec.name!r}; choose another name, or delete that one first."
                ) from None

    def drop_task(self, name: str) -> None:
        """Delete an added task. Raises NotFound, and Conflict if runs that are not failed or cancelled use it."""
        with self._session() as session:
            row = session.get(TaskRow, name)
            if row is None:
                raise NotFound(f"There is no added task {name!r}.")
            _refuse_if_used(
                f"Task {name!r}",
                session.scalars(_users().where(RunRow.task == name)).all(),
                "add a changed task under another name instead",
            )
            session.delete(row)

    def check_unused_model(self, model: str) -> None:
        """Raise Conflict if runs that are not failed, cancelled or deleted use a model."""
        with self._session() as session:
            runs = session.scalars(_users().where(RunRow.model == model, RunRow.deleted.is_(None))).all()
        _refuse_if_used(f"Model {model!r}", runs, "delete these runs first")

    def is_model_used(self, model: str) -> bool:
        """Return whether a run needs a model: one that is not failed or cancelled, deleted ones included, since they
        may be restored.
        """
        with self._session() as session:
            return session.scalar(_users().where(RunRow.model == model).limit(1)) is not None


def _users() -> Select[str]:
    return select(RunRow.id).where(RunRow.status.in_(USING_STATUSES)).order_by(RunRow.created)


def _refuse_if_used(what: str, runs: Sequence[str], way_out: str) -> None:
    if runs:
        more = f" and {len(runs) - MAX_NAMED_RUNS} more" if len(runs) > MAX_NAMED_RUNS else ""
        raise Conflict(
            f"{what} is used by run {', '.join(runs[:MAX_NAMED_RUNS])}{more}, which could not measure trials without "
            f"it; {way_out}."
        )
