"""Access control and request limits, as plain ASGI middleware around API and dashboard."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
import signal
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.web.problems import problem
from modelshapley.server.addresses import is_loopback, open_listeners

OPEN_PATHS = {"/api/v1/health"}
LISTENING_POLL_S, MAX_LISTENING_POLL_S = 0.05, 5.0
log = logging.getLogger(__name__)


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


class RequireLoopback:
    """Without a key, serve this machine only: by the address that was reached, the sockets, and the name in `Host`.

    The name defeats web pages that rebind their own name (DNS). The sockets are looked at because settings only say
    where the server should listen, and whoever starts it may say otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._listeners: list[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem_status = self._problem(scope)
        if problem_status is None:
            await self._app(scope, receive, send)
        else:
            await refuse(scope, receive, send, *problem_status)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        if self._listeners is None:  # the first request: by now the server listens
            self._listeners = open_listeners()
        if self._listeners:
            return 403, open_without_key(self._listeners)
        address, port = scope.get("server") or ("127.0.0.1", None)  # (path, None) for a Unix socket
        if port is not None and not is_loopback(address):
            return 403, open_without_key([address])
        host = Headers(scope=scope).get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if not is_loopback(name.strip("[]")):
            return 421, f"Without an API key this server responds to loopback names only, not to {host!r}."
        return None


def open_without_key(addresses: Sequence[str]) -> str:
    """Return the sentence for a server without a key at addresses that others can reach."""
    return (
        f"This server listens on {', '.join(addresses)} without an API key, so it serves nobody: "
        "set MODELSHAPLEY_API_KEY to a secret, or listen on 127.0.0.1."
    )


async def stop_if_open() -> None:
    """End the server if it turns out, once it listens, that others can reach it. For servers without a key."""
    pause = LISTENING_POLL_S
    while (listeners := open_listeners()) is None:
        await asyncio.sleep(pause)
        pause = min(2 * pause, MAX_LISTENING_POLL_S)  # a Unix socket never counts
    if listeners:
        log.critical("%s", open_without_key(listeners))
        signal.raise_signal(signal.SIGTERM)


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, detail: str) -> None:
    """Answer with a problem; a websocket is closed with it as the reason."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": detail[:120]})
        return
    await problem(status, detail)(scope, receive, send)


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
