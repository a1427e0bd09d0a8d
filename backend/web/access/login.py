"""The page on which a browser logs in with a key, and the way out."""

from __future__ import annotations

import html
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from backend.web.access.authentication import COOKIE, LOGIN_TTL_S, Authenticator, token_of

LOGIN, LOGOUT = "/login", "/logout"
MAX_FORM_BYTES = 8192
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in - Model Shapley</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 Inter, system-ui, sans-serif; }}
body {{ display: grid; min-height: 90vh; place-items: center; }}
form {{ display: grid; gap: 12px; width: min(360px, 90vw); }}
input, button {{ font: inherit; padding: 8px 12px; }}
</style>
</head>
<body>
<main>
<h1>Model Shapley</h1>
<form method="post" action="{action}">
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="next" value="{next}">
<p role="alert">{problem}</p>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>"""


def page(scope: Scope, next_path: str, problem: str = "") -> Response:
    """Return the page, as 401: a form instead of the browser's own log-in, which has no way out."""
    fields = {"action": scope.get("root_path", "") + LOGIN, "next": next_path, "problem": problem}
    text = PAGE.format(**{name: html.escape(value) for name, value in fields.items()})
    return HTMLResponse(text, 401, headers={"Cache-Control": "no-store"})


async def ask(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a browser that needs to log in, and leads it back afterwards."""
    request = Request(scope)
    query = f"?{request.url.query}" if request.url.query else ""
    await page(scope, inside(request.url.path + query), "")(scope, receive, send)


def inside(path: str) -> str:
    """Return a path of this server; '/' for what could lead elsewhere."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain else "/"


def install(root: FastAPI, authenticator: Authenticator) -> None:
    """Add the routes to log in and out. RequireKey leaves LOGIN open."""

    @root.get(LOGIN, include_in_schema=False)
    async def show(request: Request) -> Response:
        return page(request.scope, request.scope.get("root_path", "") + "/")

    @root.post(LOGIN, include_in_schema=False)
    async def log_in(request: Request) -> Response:
        body = (await request.body())[:MAX_FORM_BYTES].decode("utf-8", "replace")
        form = parse_qs(body, max_num_fields=10)
        next_path = inside(form.get("next", ["/"])[0])
        identity = await run_in_threadpool(authenticator.of_secret, form.get("key", [""])[0].strip())
        if identity is None:
            return page(request.scope, next_path, "This key is not known here, or it was revoked.")
        token = await run_in_threadpool(authenticator.log_in, identity)
        answer = RedirectResponse(next_path, 303)
        secure = request.url.scheme == "https"
        path = request.scope.get("root_path", "") or "/"
        answer.set_cookie(COOKIE, token, LOGIN_TTL_S, path=path, secure=secure, httponly=True, samesite="lax")
        return answer

    @root.post(LOGOUT, include_in_schema=False)
    async def log_out(request: Request) -> Response:
        token = token_of(request.headers)
        if token is not None:
            await run_in_threadpool(authenticator.log_out, token)
        path = request.scope.get("root_path", "")
        answer = RedirectResponse(path + LOGIN, 303)
        answer.delete_cookie(COOKIE, path=path or "/")
        return answer
