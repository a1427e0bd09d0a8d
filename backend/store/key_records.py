"""Records of named keys, of what their owners have open, and of who changed what."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import IntegrityError

from backend.store.database import Database, new_id, now, require
from backend.store.tables import OPEN, AuditRow, DerivedRow, KeyRow, RunRow, TrialRow
from modelshapley.contracts import AuditEntry, Key, KeyRequest, NewKey, Scope, Status
from modelshapley.errors import Conflict

PREFIX = "ms"  # of every secret: `ms_<id>_<random>`
SECRET_BYTES = 32


class KeyRecords(Database):
    """Records of keys and the audit log."""

    def add_key(self, request: KeyRequest) -> NewKey:
        """Make a key. Raises Conflict if another one, revoked or not, has the name."""
        identifier = new_id()
        secret = f"{PREFIX}_{identifier}_{secrets.token_urlsafe(SECRET_BYTES)}"
        row = KeyRow(id=identifier, hash=_hash(secret), created=now(), **request.model_dump(mode="json"))
        try:
            with self._session() as session:
                session.add(row)
        except IntegrityError:
            raise Conflict(
                f"There is or was a key called {request.name!r}; choose another name, since runs name it."
            ) from None
        return NewKey(secret=secret, **_key(row).model_dump())

    def all_keys(self) -> list[Key]:
        """List all keys, the revoked ones included, by name."""
        with self._session() as session:
            return [_key(row) for row in session.scalars(select(KeyRow).order_by(KeyRow.name))]

    def revoke_key(self, key_id: str) -> Key:
        """Revoke a key, by its id or name; repeating it changes nothing. Raises NotFound."""
        with self._session() as session:
            row = session.scalar(select(KeyRow).where(or_(KeyRow.id == key_id, KeyRow.name == key_id)))
            row = require(row, "key", key_id)
            row.revoked = row.revoked or now()
            return _key(row)

    def key_of(self, secret: str) -> Key | None:
        """Return the key of a secret, unless it is revoked or wrong.

        The id in the secret finds the row, and the hashes are compared in constant time.
        """
        parts = secret.split("_", 2)
        if len(parts) != 3 or parts[0] != PREFIX:
            return None
        with self._session() as session:
            row = session.get(KeyRow, parts[1])
            known = row.hash if row is not None else ""
            right = hmac.compare_digest(known, _hash(secret))
            return _key(row) if row is not None and right and row.revoked is None else None

    def key(self, key_id: str) -> Key:
        """Return a key. Raises NotFound."""
        with self._session() as session:
            return _key(require(session.get(KeyRow, key_id), "key", key_id))

    def queued_of(self, owner: str) -> int:
        """Count the open runs, checks, derived models and trials of the key with this name."""
        runs = select(func.count()).where(
            RunRow.owner == owner,
            or_(RunRow.status.in_(OPEN), (RunRow.status == Status.DONE) & RunRow.checks.in_(OPEN)),
        )
        derived = select(func.count()).where(DerivedRow.owner == owner, DerivedRow.status.in_(OPEN))
        trials = select(func.count()).where(TrialRow.owner == owner, TrialRow.status.in_(OPEN))
        with self._session() as session:
            return sum(int(session.scalar(query) or 0) for query in (runs, derived, trials))

    def audit(self, key: str | None, action: str, target: str) -> None:
        """Note that a key changed something."""
        with self._session() as session:
            session.add(AuditRow(at=now(), key=key, action=action, target=target[:200]))

    def audit_entries(self, limit: int, offset: int = 0) -> list[AuditEntry]:
        """List what was changed, newest first."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit).offset(offset)
        with self._session() as session:
            return [
                AuditEntry(at=row.at, key=row.key, action=row.action, target=row.target)
                for row in session.scalars(query)
            ]

    def forget_audit(self, before: datetime) -> int:
        """Remove what was noted before a moment; return how many entries."""
        with self._session() as session:
            removed = session.execute(delete(AuditRow).where(AuditRow.at < before))
            return int(removed.rowcount)  # type: ignore[attr-defined]  # a CursorResult for every DELETE


def _hash(secret: str) -> str:
    """Hash a secret. It has 256 random bits, so a slow hash with salt would protect nothing more."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: KeyRow) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        scope=Scope(row.scope),
        requests_per_minute=row.requests_per_minute,
        max_queued=row.max_queued,
        created=row.created,
        revoked=row.revoked,
    )
