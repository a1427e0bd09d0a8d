"""The API's description of its errors, and HEAD wherever GET is."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelshapley.contracts import Problem

EVERY_REQUEST = (400, 401, 403, 404, 405, 409, 421, 422, 429, 500, 503)
WITH_CHANGES = (413, 415, 507)
SCHEMAS = "#/components/schemas/"


def describe_errors(api: FastAPI) -> None:
    """Add the errors that each operation can answer to the description, as problem details."""
    generate = api.openapi

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            _add_errors(generate())
        return api.openapi_schema or {}

    api.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to change the description


def _add_errors(schema: dict[str, Any]) -> None:
    problem = Problem.model_json_schema(ref_template=SCHEMAS + "{model}")
    schemas = schema["components"]["schemas"]
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's shape of errors, which no route answers
        schemas.pop(name, None)
    for path in schema["paths"].values():
        for method, operation in path.items():
            for status in (*EVERY_REQUEST, *(WITH_CHANGES if method != "get" else ())):
                operation["responses"][str(status)] = {
                    "description": HTTPStatus(status).phrase,
                    "content": {"application/problem+json": {"schema": {"$ref": f"{SCHEMAS}Problem"}}},
                }


class HeadAsGet:
    """Answers HEAD with the status and headers of GET; also for an event stream, which would not end by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        started = asyncio.Event()

        async def send_start(message: Message) -> None:
            if message["type"] == "http.response.start" and not started.is_set():
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                started.set()

        answering = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, send_start))
        waiting = asyncio.ensure_future(started.wait())
        await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (answering, waiting):
            task.cancel()
        await asyncio.gather(answering, waiting, return_exceptions=True)
