"""Errors as problem details (RFC 9457), in one JSON shape. Only this module knows the HTTP statuses of errors."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DatabaseError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from backend.queue.connections import REDIS_DOWN
from modelshapley.contracts import FieldError, Problem
from modelshapley.contracts.applications.derived import USES
from modelshapley.errors import BadTask, Conflict, Damaged, ModelShapleyError, NotFound
from modelshapley.tasks.infos import KINDS

log = logging.getLogger(__name__)
RETRY_AFTER_S = "2"
DISK_FULL = "The disk of the server is full; free some space, then try again. What was accepted is kept."
MAX_ERRORS, MAX_DETAIL, MAX_NAME = 50, 2000, 80


def problem(
    status: int, detail: str, errors: Sequence[FieldError] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    fields = [FieldError(field=_printable(e.field), message=_printable(e.message)) for e in errors[:MAX_ERRORS]]
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=_printable(detail), errors=fields)
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, detail: str, headers: dict[str, str] | None = None
) -> None:
    """Answer with a problem; a websocket is closed with it as the reason."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": detail[:120]})
        return
    await problem(status, detail, headers=headers)(scope, receive, send)


def _printable(text: str) -> str:
    """Return a text that can be encoded and read: what it quotes may be long, and hold half a surrogate pair."""
    short = text if len(text) <= MAX_DETAIL else f"{text[:MAX_DETAIL]} ..."
    return short.encode("utf-8", "backslashreplace").decode()


def install_http(app: FastAPI) -> None:
    """Map the framework's own errors: an unknown path or method.

    The whole server needs this as well as the API: a path with a line break matches no mount and never reaches the API.
    """

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if error.status_code in (404, 405) and detail == HTTPStatus(error.status_code).phrase:
            detail = f"This server has no {request.method} {request.url.path}; see /api/docs."
        headers = dict(error.headers or {})
        if error.status_code == 405:
            path = request.url.path.removeprefix(request.scope.get("root_path", ""))
            headers["Allow"] = ", ".join(_methods_of(app, path)) or headers.get("Allow", "")
        return problem(error.status_code, detail, headers=headers)


def _methods_of(app: FastAPI, path: str) -> list[str]:
    """Return all methods that the description has for a path; the router itself names those of one of its routes."""
    parts = path.split("/")
    fitting = [template for template in app.openapi()["paths"] if _fits(template.split("/"), parts)]
    if not fitting:
        return []
    literal = min(fitting, key=lambda template: template.count("{"))  # /models/hub is no model called hub
    methods = [method.upper() for method in app.openapi()["paths"][literal]]
    return sorted({*methods, *(["HEAD"] if "GET" in methods else [])})


def _fits(template: Sequence[str], parts: Sequence[str]) -> bool:
    return len(template) == len(parts) and all(
        own == part or own.startswith("{") for own, part in zip(template, parts, strict=True)
    )


def install(app: FastAPI) -> None:
    """Map every error that a route can raise."""

    @app.exception_handler(NotFound)
    async def _not_found(_: Request, error: NotFound) -> JSONResponse:
        return problem(404, str(error))

    @app.exception_handler(Conflict)
    async def _conflict(_: Request, error: Conflict) -> JSONResponse:
        return problem(409, str(error))

    @app.exception_handler(BadTask)
    async def _bad_task(_: Request, error: BadTask) -> JSONResponse:
        fields = [FieldError(field=field or "body", message=words) for field, words in error.problems]
        return problem(422, str(error), fields)

    @app.exception_handler(Damaged)
    async def _damaged(_: Request, error: Damaged) -> JSONResponse:
        log.error("%s", error)
        return problem(500, str(error))

    @app.exception_handler(ModelShapleyError)
    async def _refused(_: Request, error: ModelShapleyError) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = [FieldError(field=_where(item["loc"]), message=_message(item)) for item in error.errors()[:MAX_ERRORS]]
        return problem(
            422,
            "The request has invalid values: " + "; ".join(f"{f.field}: {f.message}" for f in fields[:3]),
            fields,
        )

    install_http(app)
    _install_failures(app)


def _install_failures(app: FastAPI) -> None:
    """Map what fails around the server: Redis, the database, the disk; and what nobody thought of."""

    async def _redis_down(_: Request, error: Exception) -> JSONResponse:
        log.warning("Redis does not respond: %s", error)
        return problem(
            503,
            "The queue (Redis) does not respond; try again in a moment.",
            headers={"Retry-After": RETRY_AFTER_S},
        )

    for kind in REDIS_DOWN:
        app.add_exception_handler(kind, _redis_down)

    @app.exception_handler(DatabaseError)
    async def _database_down(_: Request, error: DatabaseError) -> JSONResponse:
        log.error("The database failed: %s", error.orig)
        status, detail = _database_problem(str(error.orig).lower())
        return problem(status, detail, headers={"Retry-After": RETRY_AFTER_S})

    @app.exception_handler(OSError)
    async def _files(_: Request, error: OSError) -> JSONResponse:
        log.error("A file failed", exc_info=error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return problem(507, DISK_FULL)
        return problem(500, "The server could not read or write one of its files; see its log.")

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> JSONResponse:
        log.error("unexpected error", exc_info=error)
        return problem(500, "Internal error; see the server's log.")


def _database_problem(words: str) -> tuple[int, str]:
    """Return the status and the true cause of an error of the database, by its own words in lower case."""
    if "disk is full" in words or "no space" in words:
        return 507, DISK_FULL
    if "malformed" in words or "not a database" in words:
        return 503, (
            "The database file is damaged. Stop the server, restore records.sqlite from a backup, and start it again."
        )
    if "readonly" in words or "read-only" in words:
        return 503, "The database cannot be written to: its file or its disk is read-only."
    if "locked" in words:
        return 503, "The database is busy; try again in a moment."
    return 503, "The database does not respond; try again in a moment."


def _where(location: tuple[Any, ...]) -> str:
    """Format the path of a field, without what pydantic puts before fields of one of several forms: the kind of task
    of a task file, the use of a map.
    """
    parts = [part for part in location if part != "body"]
    if parts and parts[0] in USES:
        del parts[0]
    if len(parts) > 2 and parts[0] == "file" and parts[1] in KINDS:
        del parts[1]
    return ".".join(_short(str(part)) for part in parts) or "body"


def _short(name: str) -> str:
    """Cut a name of a field, which may be a sender's own and of any length."""
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"


def _message(item: dict[str, Any]) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    value = item.get("input")
    if isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) <= 60:
        return f"{message} (not {value!r})"
    return message
