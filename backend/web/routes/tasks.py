"""Routes to list, add and delete tasks, and to preview one before a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from backend.store.database import new_id
from backend.web.access.callers import IdentityDep
from backend.web.bodies import YAML_TYPES, BodyRoute, load_json, media_type
from backend.web.dependencies import ServicesDep
from backend.web.validation import check_file, check_fit
from modelshapley.contracts.task_files.descriptions import TaskCheck, TaskCheckRequest, TaskInfo
from modelshapley.contracts.task_files.file import MAX_FILE_BYTES, TaskFile, parse, parse_text, to_yaml
from modelshapley.errors import BadTask, Conflict, NotFound, UnknownName
from modelshapley.tasks.infos import KINDS, TASKS, info_of

router = APIRouter(prefix="/tasks", tags=["tasks"], route_class=BodyRoute)
YAML = "application/yaml"
TASK_SCHEMAS = [f"#/components/schemas/{''.join(word.title() for word in kind.split('-'))}Task" for kind in KINDS]
TASK_FILE_CONTENT = {
    "application/json": {
        "schema": {
            "oneOf": [{"$ref": schema} for schema in TASK_SCHEMAS],
            "discriminator": {"propertyName": "kind", "mapping": dict(zip(KINDS, TASK_SCHEMAS, strict=True))},
        }
    },
    YAML: {"schema": {"type": "string", "description": "the same as YAML"}},
}


async def _body(request: Request) -> tuple[str, bytes]:
    return media_type(request), await request.body()


def _task_file(body: Annotated[tuple[str, bytes], Depends(_body)]) -> TaskFile:
    """Parse a task file in a thread, because YAML is slow to parse."""
    kind, data = body
    if len(data) > MAX_FILE_BYTES:
        raise BadTask("in the request", [("", f"is larger than {MAX_FILE_BYTES:,} bytes; is it the data?")])
    try:
        text = data.decode()
        file: TaskFile = (
            parse_text(text, "in the request") if kind in YAML_TYPES else parse(load_json(data), "in the request")
        )
    except ValueError as error:
        words = f"cannot be read as JSON ({error}); send YAML with content-type {YAML}"
        raise BadTask("in the request", [("", words)]) from None
    return file


@router.get("")
def list_tasks(services: ServicesDep) -> list[TaskInfo]:
    """List all tasks: the built-in ones, then the added ones."""
    return services.tasks.infos()


@router.post("", status_code=201, openapi_extra={"requestBody": {"required": True, "content": TASK_FILE_CONTENT}})
def add_task(
    file: Annotated[TaskFile, Depends(_task_file)], services: ServicesDep, identity: IdentityDep, response: Response
) -> TaskInfo:
    """Add a task by its task file, as JSON or YAML; its data are read when it is previewed or run."""
    check_file(file, services.tasks.roots)
    if file.name in TASKS:
        raise Conflict(f"{file.name!r} is a built-in task; choose another name.")
    services.records.add_task(file)
    services.records.audit(identity.name, "add_task", file.name)
    response.headers["Location"] = f"/api/v1/tasks/{file.name}"
    return info_of(file, own=True)


@router.post("/checks", status_code=202)
def check_task(request: TaskCheckRequest, services: ServicesDep, response: Response) -> TaskCheck:
    """Have a worker read a task's data and preview what a run would see; `model`: as this model reads it."""
    if request.file is not None:
        check_file(request.file, services.tasks.roots)
    info = services.tasks.info(request.task) if request.task is not None else info_of(request.file)
    if request.model is not None:
        check_fit(info, request.model, services.catalog.anatomy(request.model))
    check = services.result_caches.task_checks.open(new_id(), request)
    services.queues.enqueue_task_check(check.id)
    response.headers["Location"] = f"/api/v1/tasks/checks/{check.id}"
    return check


@router.get("/checks/{check_id}")
def get_task_check(check_id: str, services: ServicesDep) -> TaskCheck:
    """Return the preview, complete once `status` is done; it is kept for an hour."""
    return services.result_caches.task_checks.get(check_id)


@router.get("/{name}")
def get_task(name: str, services: ServicesDep) -> TaskInfo:
    try:
        return services.tasks.info(name)
    except UnknownName as error:
        raise NotFound(str(error)) from None


@router.get(
    "/{name}/file",
    response_model=None,
    responses={200: {"content": dict.fromkeys(TASK_FILE_CONTENT, TASK_FILE_CONTENT["application/json"])}},
)
def get_task_file(
    info: Annotated[TaskInfo, Depends(get_task)], services: ServicesDep, format: Literal["json", "yaml"] = "json"
) -> Response:
    """Return the task file without fields at their default, to be changed and added under another name."""
    spec = services.tasks.file(info.id)
    if spec is None:
        raise NotFound(f"Task {info.id!r} is defined in code and has no task file.")
    if format == "yaml":
        return PlainTextResponse(to_yaml(spec), media_type=YAML)
    data: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    return JSONResponse(data)


@router.delete("/{name}", status_code=204)
def delete_task(info: Annotated[TaskInfo, Depends(get_task)], services: ServicesDep, identity: IdentityDep) -> None:
    """Delete an added task that no run uses; its data stay."""
    if not info.own:
        raise Conflict(f"Task {info.id!r} is built in and cannot be deleted.")
    services.records.drop_task(info.id)
    services.records.audit(identity.name, "delete_task", info.id)
