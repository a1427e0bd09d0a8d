"""Tables of the database. Every change needs a migration in backend/store/migrations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from modelshapley.contracts import Status

OPEN = (Status.QUEUED, Status.RUNNING)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, even in databases without time zones (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    pass


class RunRow(Base):
    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(200))
    task: Mapped[str] = mapped_column(String(200))
    methods: Mapped[list[str]] = mapped_column(JSON)
    units: Mapped[list[str]] = mapped_column(JSON)
    limit: Mapped[int] = mapped_column(Integer)
    seed: Mapped[int] = mapped_column(Integer)
    name: Mapped[str | None] = mapped_column(String(120))
    comment: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    shards: Mapped[int] = mapped_column(Integer, default=1)
    per_class: Mapped[bool] = mapped_column(Boolean, default=False)
    faithfulness: Mapped[str] = mapped_column(String(8), server_default="none")
    checks: Mapped[str | None] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), index=True)
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int] = mapped_column(Integer, default=0)
    eta_s: Mapped[float | None] = mapped_column(Float)
    error: Mapped[str | None] = mapped_column(Text)
    shapes: Mapped[dict[str, list[int]]] = mapped_column(JSON)
    layout: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    intact: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    classes: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    revision: Mapped[str | None] = mapped_column(String(64))
    task_fingerprint: Mapped[str | None] = mapped_column(String(64))
    notes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    worker: Mapped[str | None] = mapped_column(String(64))
    owner: Mapped[str | None] = mapped_column(String(80), index=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    started: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class ShardRow(Base):
    """Progress of a shard of a run, counted from 1: done of size examples, rate, and time of the report (told)."""

    __tablename__ = "shards"

    run: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    done: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column(Integer)
    rate: Mapped[float | None] = mapped_column(Float)
    told: Mapped[datetime] = mapped_column(UtcDateTime)


class TrialRow(Base):
    """A trial.

    turn: how often it yielded to trials of other users. worker: the worker that measures it. answers: outcomes of the
    first n examples (modelshapley.evaluation.intervals.pack), stored when it yields and when it is done.
    """

    __tablename__ = "trials"
    __table_args__ = (Index("trials_of_run_by_key", "run", "key"), Index("trials_by_key", "key"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    run: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    session: Mapped[str | None] = mapped_column(String(64), index=True)
    key: Mapped[str] = mapped_column(String(64))
    off: Mapped[dict[str, Any]] = mapped_column(JSON)
    treatment: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    half_width: Mapped[float | None] = mapped_column(Float)
    leased: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    status: Mapped[str] = mapped_column(String(16), index=True)
    n: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int] = mapped_column(Integer, default=0)
    sequence: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    turn: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    worker: Mapped[str | None] = mapped_column(String(64))
    restarts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    answers: Mapped[bytes | None] = mapped_column(LargeBinary)
    predicted: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    recomputed: Mapped[str | None] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str | None] = mapped_column(String(80), index=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DerivedRow(Base):
    """A derived model, or a report on units; `use` says which, and what `info` holds. request: as it was sent, without
    named units. chosen: units, method and provenance of the map, once they are chosen. run: no foreign key, since a
    derived model outlives the run that it came from.
    """

    __tablename__ = "derived"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    use: Mapped[str] = mapped_column(String(16), default="prune", server_default="prune")
    name: Mapped[str] = mapped_column(String(80), index=True)
    run: Mapped[str] = mapped_column(String(32), index=True)
    parent: Mapped[str] = mapped_column(String(200))
    task: Mapped[str] = mapped_column(String(200))
    share: Mapped[float | None] = mapped_column(Float)
    method: Mapped[str | None] = mapped_column(String(200))
    repair: Mapped[bool] = mapped_column(Boolean, default=False)
    request: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    chosen: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    status: Mapped[str] = mapped_column(String(16), index=True)
    step: Mapped[str | None] = mapped_column(String(200))
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int] = mapped_column(Integer, default=0)
    eta_s: Mapped[float | None] = mapped_column(Float)
    recommendation: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    info: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    worker: Mapped[str | None] = mapped_column(String(64))
    owner: Mapped[str | None] = mapped_column(String(80), index=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    started: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TaskRow(Base):
    """An added task: the content of its task file."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime)


class GroupRow(Base):
    """A group: units of a model saved under a name."""

    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("model", "name", name="groups_by_name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(80))
    off: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime)


class KeyRow(Base):
    """A named key. hash: sha256 of its secret, in hexadecimal. A revoked key keeps its name, which runs refer to."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    scope: Mapped[str] = mapped_column(String(16))
    hash: Mapped[str] = mapped_column(String(64))
    requests_per_minute: Mapped[int | None] = mapped_column(Integer)
    max_queued: Mapped[int | None] = mapped_column(Integer)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditRow(Base):
    """One change and who made it. key: name of the key, None for the server's own key and without keys."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    key: Mapped[str | None] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(200))
