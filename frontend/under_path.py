"""The whole server under a path of a reverse proxy, whether the proxy takes that path off or not. Plain ASGI."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class UnderPath:
    """Requests for `path`/... and for /... are the same; places that answers name are below `path`."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = scope["path"]
        below = asked == self._path or asked.startswith(f"{self._path}/")
        bare = (asked.removeprefix(self._path) or "/") if below else asked
        # The API's own pages ask for more under the path that they are at. Dash knows bare paths only.
        api = bare == "/api" or bare.startswith("/api/")
        placed = {"path": self._path + bare, "root_path": self._path} if api else {"path": bare}

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [self._placed(*header) for header in message["headers"]]}
            await send(message)

        await self._app({**scope, **placed}, receive, tell)

    def _placed(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        below = value.startswith(f"{self._path}/".encode())
        here = name.lower() == b"location" and value.startswith(b"/") and not below
        return name, self._path.encode() + value if here else value
