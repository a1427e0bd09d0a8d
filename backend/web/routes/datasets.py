"""Routes to list and delete uploaded data for tasks."""

from __future__ import annotations

from pathlib import PurePath

from fastapi import APIRouter

from backend.web.access.callers import IdentityDep
from backend.web.bodies import BodyRoute
from backend.web.dependencies import Services, ServicesDep
from modelshapley.contracts import Dataset
from modelshapley.errors import Conflict

router = APIRouter(prefix="/datasets", tags=["tasks"], route_class=BodyRoute)


@router.get("")
def list_datasets(services: ServicesDep) -> list[Dataset]:
    """List the uploaded data, newest first; a task reads them by `source: {path: <path>}`."""
    return services.data_uploads.datasets()


@router.get("/{name}")
def get_dataset(name: str, services: ServicesDep) -> Dataset:
    """Describe uploaded data: splits, columns and the first rows."""
    return services.data_uploads.dataset(name)


@router.delete("/{name}", status_code=204)
def delete_dataset(name: str, services: ServicesDep, identity: IdentityDep) -> None:
    """Delete uploaded data that no added task reads. Needs the scope `admin`."""
    dataset = services.data_uploads.dataset(name)
    users = _users(services, dataset)
    if users:
        raise Conflict(f"Task {users[0]!r} reads the data {name!r}; delete it first.")
    services.data_uploads.delete(name)
    services.records.audit(identity.name, "delete_dataset", name)


def _users(services: Services, dataset: Dataset) -> list[str]:
    """Return the names of the added tasks that read uploaded data, or a folder around them."""
    data = PurePath(dataset.path)
    paths = {name: PurePath(file.source.path) for name, file in services.records.tasks().items() if file.source.path}
    return [name for name, path in paths.items() if path.is_relative_to(data) or data.is_relative_to(path)]
