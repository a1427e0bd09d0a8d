"""Routes for named keys, the audit log, and who the caller is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.web.access.callers import IdentityDep
from backend.web.bodies import BodyRoute
from backend.web.dependencies import ServicesDep
from modelshapley.contracts import AuditEntry, Caller, Key, KeyRequest, NewKey

router = APIRouter(tags=["keys"], route_class=BodyRoute)


@router.get("/me")
def get_me(identity: IdentityDep) -> Caller:
    """Return whose key the request carries, and what that key may do."""
    return Caller(name=identity.name, scope=identity.scope, keys_needed=identity.keys_needed)


@router.get("/keys")
def list_keys(services: ServicesDep) -> list[Key]:
    """List all named keys by name, the revoked ones included. Needs the scope `admin`."""
    return services.records.all_keys()


@router.post("/keys", status_code=201)
def create_key(request: KeyRequest, services: ServicesDep, identity: IdentityDep, response: Response) -> NewKey:
    """Make a named key. Only this response has its secret. Needs the scope `admin`."""
    key = services.records.add_key(request)
    services.records.audit(identity.name, "create_key", key.name)
    response.headers["Location"] = f"/api/v1/keys/{key.id}"
    return key


@router.delete("/keys/{key_id}")
def revoke_key(key_id: str, services: ServicesDep, identity: IdentityDep) -> Key:
    """Revoke a key, by its id or name; it stops working within 5 seconds. Needs the scope `admin`."""
    key = services.records.revoke_key(key_id)
    services.records.audit(identity.name, "revoke_key", key.name)
    return key


@router.get("/audit")
def list_audit(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> list[AuditEntry]:
    """List who submitted, cancelled, deleted or changed what, newest first. Needs the scope `admin`."""
    return services.records.audit_entries(limit, offset)
