"""Who a request comes from, for as long as it is answered, and what that caller may do."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from backend.web.access.browsers import SAFE_METHODS
from modelshapley.contracts import Key, Run, Scope
from modelshapley.contracts.applications.derived import Derived

MEASURES = {  # routes that change something and need the scope `measure`, by function
    "submit_trial",
    "submit_prompt",
    "cancel_prompt",
    "map_answer",
    "request_trial_details",
    "request_unit_examples",
    "check_task",
    "estimate_run",
    "request_size",
    "add_group",
    "delete_group",
}
OPEN = {"get_health"}
ADMINISTERS = {"list_keys", "create_key", "revoke_key", "list_audit", "delete_model", "delete_dataset"}


@dataclass(frozen=True)
class Identity:
    """The owner of a request. key: its named key; None for the server's own key, and without keys."""

    key: Key | None = None
    keys_needed: bool = True

    @property
    def name(self) -> str | None:
        return self.key.name if self.key is not None else None

    @property
    def scope(self) -> Scope:
        return self.key.scope if self.key is not None else Scope.ADMIN


# Calls that the dashboard makes for a browser stay inside the process: the context carries the browser's identity.
IDENTITY: ContextVar[Identity | None] = ContextVar("identity", default=None)


def current_identity(request: Request) -> Identity:
    """Return whose request this is. Raises HTTPException 401 where a key is needed and nobody has shown one."""
    identity = IDENTITY.get()
    if identity is not None:
        return identity
    if request.app.state.services.settings.api_key is not None:
        raise HTTPException(401, "This server requires an API key.")
    return Identity(keys_needed=False)


IdentityDep = Annotated[Identity, Depends(current_identity)]


def scope_of(method: str, function: str) -> Scope:
    """Return the scope that a route needs. A new route that changes something needs `submit` unless it is listed."""
    if function in ADMINISTERS:
        return Scope.ADMIN
    if method in SAFE_METHODS:
        return Scope.READ
    return Scope.MEASURE if function in MEASURES else Scope.SUBMIT


def require_scope(request: Request) -> None:
    """Raise HTTPException 401 without a key, and 403 if the key does not include the scope of the route."""
    function = request.scope["route"].endpoint.__name__
    if function in OPEN:
        return
    identity = current_identity(request)
    needed = scope_of(request.method, function)
    if not identity.scope.includes(needed):
        raise HTTPException(
            403,
            f"Key {identity.name!r} has the scope '{identity.scope.value}', but this needs '{needed.value}'; "
            "ask an admin of this server for another key.",
        )


def refuse_others(identity: Identity, work: Run | Derived) -> None:
    """Raise HTTPException 403 if a run or derived model is another key's, unless the caller is an admin."""
    if work.owner not in (None, identity.name) and identity.scope is not Scope.ADMIN:
        noun = "Run" if isinstance(work, Run) else "Derived model"
        raise HTTPException(403, f"{noun} {work.id} is {work.owner}'s; only its owner or an admin may change it.")
