"""An id for each request, and a line in the log for each answer."""

from __future__ import annotations

import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.store.database import new_id
from modelshapley.server.logs import REQUEST, REQUESTS, log_fields

HEADER = "X-Request-ID"
ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
log = logging.getLogger(REQUESTS)


class LogRequests:
    """Takes the id of a proxy, or makes one; it is in the answer's X-Request-ID and in all that is logged meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id, began = given if ID.fullmatch(given) else new_id(), time.monotonic()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                headers[HEADER] = request_id
                message = {**message, "headers": headers.raw}
                fields = {"status": message["status"], "seconds": round(time.monotonic() - began, 4)}
                log.info("%s %s", scope["method"], scope["path"], extra={"fields": fields})
            await send(message)

        with log_fields(**{REQUEST: request_id}):
            await self._app(scope, receive, send_with_id)
