"""API keys, who a request comes from, and the audit log."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from modelshapley.contracts.base import Contract, Whole

MAX_PER_MINUTE, MAX_QUEUED = 1_000_000, 100_000


class Scope(StrEnum):
    """What a key may do. Each scope includes those before it.

    read: see everything. measure: trials, previews, groups. submit: runs, checks, tasks, uploads, and changes to its
    own runs. admin: changes to everybody's work, keys, the audit log.
    """

    READ = "read"
    MEASURE = "measure"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(other)


class KeyRequest(Contract):
    """Request for a named key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "ada", "scope": "submit"}]})

    name: str = Field(
        min_length=1,
        max_length=80,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]*$",
        description="whose key it is; shown on runs and in the audit log",
    )
    scope: Scope = Field(default=Scope.SUBMIT, description="read, measure, submit or admin; each includes those before")
    requests_per_minute: Whole | None = Field(
        default=None, ge=1, le=MAX_PER_MINUTE, description="default: MODELSHAPLEY_REQUESTS_PER_MINUTE"
    )
    max_queued: Whole | None = Field(
        default=None,
        ge=1,
        le=MAX_QUEUED,
        description="runs, checks and trials that may be open at a time; default: MODELSHAPLEY_MAX_QUEUED",
    )


class Key(KeyRequest):
    """A named key, without its secret, of which only a hash is stored."""

    id: str
    created: datetime
    revoked: datetime | None = None


class NewKey(Key):
    """A key that was just made. `secret` is what requests send; it is shown this once."""

    secret: str


class Caller(Contract):
    """Who a request comes from. `name`: that of its key; null for the server's own key, and without keys."""

    name: str | None = None
    scope: Scope
    keys_needed: bool = Field(description="whether this server requires a key")


class AuditEntry(Contract):
    """One change, and who made it."""

    at: datetime
    key: str | None = Field(description="name of the key; null for the server's own key, and without keys")
    action: str = Field(examples=["submit_run", "cancel_run", "delete_run", "create_key"])
    target: str = Field(description="id or name of what was changed")
