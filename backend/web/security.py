"""Access control and request limits, as plain ASGI middleware around API and dashboard."""

from __future__ import annotations

import base64
import binascii
import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.web.problems import problem
from modelshapley.server.addresses import is_loopback

OPEN_PATHS = {"/api/v1/health"}


class RequireKey:
    """Require the API key of every request: as a Bearer token or, for browsers, as the password of HTTP Basic."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] not in ("http", "websocket")
            or scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS
            or self._allowed(Headers(scope=scope))
        ):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "an API key is needed"})
        else:
            response = problem(
                401,
                "This server requires its API key: send 'Authorization: Bearer KEY', "
                "or log in with any name and the key as password.",
                headers={"WWW-Authenticate": 'Basic realm="Model Shapley"'},
            )
            await response(scope, receive, send)

    def _allowed(self, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        key = value.strip().encode()
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(key, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return secrets.compare_digest(key, self._key)


class RequireLoopbackName:
    """Without a key, respond only to loopback names, which defeats web pages that rebind their own name (DNS)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            host = Headers(scope=scope).get("host", "")
            name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
            if not is_loopback(name.strip("[]")):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008, "reason": "loopback names only"})
                    return
                response = problem(
                    421, f"Without an API key this server responds to loopback names only, not to {host!r}."
                )
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


class LimitBody:
    """Refuse a request body over `limit` bytes with 413, whether or not it declares its length."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > self._limit:
            await self._refuse(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > self._limit:
                await self._refuse(scope, receive, send)
                return
            more = message.get("more_body", False)
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            message, whole = whole, None
            return message if message is not None else await receive()

        await self._app(scope, replay, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem(
            413, f"The request body is larger than {self._limit:,} bytes.", headers={"Connection": "close"}
        )
        await response(scope, receive, send)
