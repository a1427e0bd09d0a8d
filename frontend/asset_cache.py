"""Lets browsers keep our scripts, styles and fonts: their addresses change with their contents."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOREVER = "public, max-age=31536000, immutable"


class CacheAssets:
    """Add Cache-Control to answers of /assets that name their version, which Dash writes as `?m=`, and to fonts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if (
            scope["type"] != "http"
            or not scope["path"].startswith("/assets/")
            or not (scope["query_string"].startswith(b"m=") or scope["path"].endswith(".woff2"))
        ):
            await self._app(scope, receive, send)
            return

        async def send_cached(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message)["Cache-Control"] = FOREVER
            await send(message)

        await self._app(scope, receive, send_cached)
