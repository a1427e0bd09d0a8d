"""Access control and request limits, as plain ASGI middleware around API and dashboard."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

from redis import Redis
from sqlalchemy.exc import DatabaseError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.queue.connections import REDIS_DOWN
from backend.web.access import login
from backend.web.access.authentication import Authenticator
from backend.web.access.callers import IDENTITY
from backend.web.access.rates import seconds_to_wait
from backend.web.problems import problem, refuse
from modelshapley.contracts import Key
from modelshapley.server.addresses import is_loopback, open_listeners

OPEN_PATHS = {"/api/v1/health", login.LOGIN}
UNCOUNTED = ("/assets/", "/_dash-component-suites/")  # files of the dashboard, dozens for a page
LISTENING_POLL_S, MAX_LISTENING_POLL_S = 0.05, 5.0
log = logging.getLogger(__name__)


class RequireKey:
    """Require a key of every request: as a Bearer token, as the password of HTTP Basic, or by a browser's log-in.

    It counts the requests of named keys, and notes whose request it is (backend.web.access.callers).
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, redis: Redis, requests_per_minute: int) -> None:
        self._app, self._authenticator = app, authenticator
        self._redis, self._limit = redis, requests_per_minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] not in ("http", "websocket") or path in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            identity = await run_in_threadpool(self._authenticator.identify, Headers(scope=scope))
        except (*REDIS_DOWN, DatabaseError):
            await refuse(scope, receive, send, 503, "Keys cannot be looked up at the moment; try again.")
            return
        if identity is None:
            await self._refuse(scope, receive, send)
            return
        wait = None
        if identity.key is not None and not path.startswith(UNCOUNTED):
            wait = await run_in_threadpool(seconds_to_wait, self._redis, identity.key, self._limit)
        if wait is not None:
            await refuse(scope, receive, send, 429, _too_many(identity.key), {"Retry-After": str(wait)})
            return
        token = IDENTITY.set(identity)
        try:
            await self._app(scope, receive, send)
        finally:
            IDENTITY.reset(token)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", ""):
            await login.ask(scope, receive, send)
            return
        detail = "This server requires an API key: send 'Authorization: Bearer KEY', or open it in a browser to log in."
        await refuse(scope, receive, send, 401, detail, {"WWW-Authenticate": 'Basic realm="Model Shapley"'})


def _too_many(key: Key | None) -> str:
    return f"Key {key.name if key else ''!r} has sent too many requests in this minute; try again in the next."


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
