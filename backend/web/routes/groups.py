"""Routes for groups: units of a model saved under a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.web.access.callers import IdentityDep
from backend.web.bodies import BodyRoute
from backend.web.dependencies import ServicesDep
from modelshapley.contracts import Group, GroupRequest
from modelshapley.errors import ModelShapleyError

router = APIRouter(prefix="/groups", tags=["groups"], route_class=BodyRoute)


@router.get("")
def list_groups(services: ServicesDep, model: Annotated[str, Query(min_length=1, max_length=200)]) -> list[Group]:
    """List the groups of a model, by name."""
    return services.records.groups(model)


@router.post("", status_code=201)
def add_group(request: GroupRequest, services: ServicesDep, identity: IdentityDep, response: Response) -> Group:
    """Save units under a name; 409 if the model already has a group with this name."""
    deactivation = request.off.deactivation()
    if not len(deactivation):
        raise ModelShapleyError("A group needs at least one unit; 'off' has none.")
    deactivation.check(services.catalog.folder(request.model).anatomy.shapes)
    group = services.records.add_group(request)
    services.records.audit(identity.name, "add_group", group.id)
    response.headers["Location"] = f"/api/v1/groups/{group.id}"
    return group


@router.delete("/{group_id}", status_code=204)
def delete_group(group_id: str, services: ServicesDep, identity: IdentityDep) -> None:
    """Delete a group; trials that used it stay."""
    services.records.drop_group(group_id)
    services.records.audit(identity.name, "delete_group", group_id)
