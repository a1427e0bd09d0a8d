"""Groups: units of a model saved under a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.web.dependencies import ServicesDep
from modelshapley.contracts import Group, GroupRequest
from modelshapley.errors import ModelShapleyError

router = APIRouter(prefix="/groups", tags=["groups"])


@router.get("")
def every(services: ServicesDep, model: Annotated[str, Query(min_length=1, max_length=200)]) -> list[Group]:
    """Groups of a model, by name."""
    return services.records.groups(model)


@router.post("", status_code=201)
def add(request: GroupRequest, services: ServicesDep, response: Response) -> Group:
    """Save units under a name; 409 where the model has another group of it."""
    deactivation = request.off.deactivation()
    if not len(deactivation):
        raise ModelShapleyError("A group has at least one unit; 'off' names none.")
    deactivation.check(services.catalog.folder(request.model).anatomy.shapes)
    group = services.records.add_group(request)
    response.headers["Location"] = f"/api/v1/groups/{group.id}"
    return group


@router.delete("/{group_id}", status_code=204)
def drop(group_id: str, services: ServicesDep) -> None:
    """Forget a group; the trials that were made with it stay."""
    services.records.drop_group(group_id)
