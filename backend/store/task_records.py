"""The tasks that were added services, in the database."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from backend.store.database import Database, now
from backend.store.tables import RunRow, TaskRow
from modelshapley.contracts import Status
from modelshapley.contracts.task_file import TaskFile, parse
from modelshapley.errors import BadTask, Conflict, NotFound

log = logging.getLogger(__name__)
USING = (Status.QUEUED, Status.RUNNING, Status.DONE)
NAMED = 3  # of the runs that use a task, in an error


class TaskRecords(Database):
    """Added task files by name."""

    def tasks(self) -> dict[str, TaskFile]:
        """In the order of their adding. One that this version cannot read is left out, and the log says why."""
        with self._session() as session:
            rows = session.scalars(select(TaskRow).order_by(TaskRow.created, TaskRow.name)).all()
        found: dict[str, TaskFile] = {}
        for row in rows:
            try:
                found[row.name] = parse(row.spec, row.name)
            except BadTask as error:
                log.error("an added task is left out: %s", error)
        return found

    def add_task(self, spec: TaskFile) -> None:
        """Add a task; the same once more changes nothing. Raises Conflict where another has its name."""
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
        """Forget an added task. Raises NotFound, and Conflict where runs that are not failed or cancelled use it."""
        with self._session() as session:
            row = session.get(TaskRow, name)
            if row is None:
                raise NotFound(f"There is no added task {name!r}.")
            users = select(RunRow.id).where(RunRow.task == name, RunRow.status.in_(USING)).order_by(RunRow.created)
            runs = session.scalars(users).all()
            if runs:
                more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
                raise Conflict(
                    f"Task {name!r} is that of run {', '.join(runs[:NAMED])}{more}, whose units could not be "
                    "switched off without it; add a changed task under another name instead."
                )
            session.delete(row)
