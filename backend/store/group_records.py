"""Records of groups: units saved under a name."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from backend.store.database import Database, new_id, now, require
from backend.store.tables import GroupRow
from modelshapley.contracts import Group, GroupRequest, Off
from modelshapley.errors import Conflict


class GroupRecords(Database):
    """Records of groups by model and name."""

    def groups(self, model: str) -> list[Group]:
        """List the groups of a model, by name."""
        query = select(GroupRow).where(GroupRow.model == model).order_by(GroupRow.name)
        with self._session() as session:
            return [_group(row) for row in session.scalars(query)]

    def add_group(self, request: GroupRequest) -> Group:
        """Add a group. Raises Conflict if the model has another one with this name."""
        row = GroupRow(
            id=new_id(),
            model=request.model,
            name=request.name,
            off=request.off.model_dump(mode="json"),
            created=now(),
        )
        try:
            with self._session() as session:
                session.add(row)
        except IntegrityError:
            raise Conflict(
                f"{request.model!r} already has a group {request.name!r}; choose another name, or delete that one."
            ) from None
        return _group(row)

    def drop_group(self, group_id: str) -> None:
        """Delete a group. Raises NotFound."""
        with self._session() as session:
            session.delete(require(session.get(GroupRow, group_id), "group", group_id))


def _group(row: GroupRow) -> Group:
    off = Off.model_validate(row.off)
    counts = off.deactivation().counts()
    return Group(id=row.id, name=row.name, model=row.model, off=off, counts=counts, created=row.created)
