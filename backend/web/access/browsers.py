"""What browsers are told and asked, as plain ASGI middleware: origins of requests, and headers of every answer."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.web.problems import refuse

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RequireSameOrigin:
    """Refuse what a page of another site can send without asking first: requests that change something, websockets.

    Browsers name the page's origin; scripts, which send neither header, go on as they are. `Sec-Fetch-Site` decides
    where there is one, since a reverse proxy may change the host that `Origin` is compared with, and no page can forge
    it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in SAFE_METHODS)
        if changes and _is_foreign(Headers(scope=scope)):
            await refuse(scope, receive, send, 403, "A page of another site may not change anything on this server.")
        else:
            await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    if origin is None:
        return False
    hosts = [headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")]
    return _host_of(origin) not in {_without_default_port(host.strip().lower()) for host in hosts if host.strip()}


def _host_of(origin: str) -> str | None:
    """Return host and port of an origin; None for 'null' and what is no origin."""
    scheme, separator, host = origin.strip().lower().partition("://")
    return _without_default_port(host) if separator and scheme in ("http", "https") and host else None


def _without_default_port(host: str) -> str:
    return host.removesuffix(":80").removesuffix(":443")


class SecurityHeaders:
    """Adds the headers that tell browsers what a page of this server may load, and who may show it in a frame.

    scripts: sources of scripts besides files of this server: the hashes of Dash's own inline scripts. ancestors:
    sources for `frame-ancestors`.
    """

    def __init__(self, app: ASGIApp, scripts: Sequence[str], ancestors: str) -> None:
        self._app, self._headers = app, _headers(scripts, ancestors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                for name, value in self._headers:
                    headers.setdefault(name, value)
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _headers(scripts: Sequence[str], ancestors: str) -> list[tuple[str, str]]:
    sources = {
        "default-src": "'self'",
        "script-src": " ".join(["'self'", *scripts]),
        "style-src": "'self' 'unsafe-inline'",  # Dash and Mantine style elements in place
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": ancestors,
    }
    headers = [
        ("Content-Security-Policy", "; ".join(f"{name} {value}" for name, value in sources.items())),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
    ]
    # For browsers that do not know frame-ancestors; it has no form for a list of embedders.
    return [*headers, ("X-Frame-Options", "DENY")] if ancestors == "'none'" else headers
