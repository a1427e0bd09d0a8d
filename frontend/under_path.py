"""Serves the whole server under a path of a reverse proxy, whether the proxy strips that path or not. Plain ASGI."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class UnderPath:
    """Treats `path`/... and /... as the same request, and puts the `Location` of answers below `path`."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        requested = scope["path"]
        below = requested == self._path or requested.startswith(f"{self._path}/")
        bare = (requested.removeprefix(self._path) or "/") if below else requested
        # The API's documentation pages link to files below their own path. Dash knows bare paths only.
        api = bare == "/api" or bare.startswith("/api/")
        paths = {"path": self._path + bare, "root_path": self._path} if api else {"path": bare}

        async def send_below(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [self._header(*header) for header in message["headers"]]}
            await send(message)

        await self._app({**scope, **paths}, receive, send_below)

    def _header(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        below = value.startswith(f"{self._path}/".encode())
        moves = name.lower() == b"location" and value.startswith(b"/") and not below
        return name, self._path.encode() + value if moves else value
