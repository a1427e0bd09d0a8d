"""API at /api and dashboard at / in one server on one port: the only place that joins the two."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount
from starlette_compress import CompressMiddleware, remove_compress_type

from backend.settings import Settings
from backend.web import metrics
from backend.web.access import login
from backend.web.access.authentication import Authenticator
from backend.web.access.browsers import RequireSameOrigin, SecurityHeaders
from backend.web.app import close_services, create_api, open_services, requeue_unfinished
from backend.web.dependencies import Services
from backend.web.housekeeping import clean_up_periodically
from backend.web.metrics import CountAnswers
from backend.web.problems import install_http
from backend.web.requests_log import LogRequests
from backend.web.security import LimitBody, RequireKey, RequireLoopback, stop_if_open
from frontend.app import attach
from frontend.asset_cache import CacheAssets
from frontend.under_path import UnderPath
from modelshapley.client import AsyncClient
from modelshapley.errors import ModelShapleyError
from modelshapley.server.logs import configure
from modelshapley.server.processes import keep_files_private


def create() -> FastAPI:
    """The whole web server; settings come from the environment."""
    try:
        settings = Settings.from_environment()
    except ModelShapleyError as error:
        raise SystemExit(f"error: {error}") from None
    configure(settings.log, logging.WARNING if settings.log == "text" else logging.INFO)
    keep_files_private(settings.data)
    services = open_services(settings)
    api = create_api(services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(requeue_unfinished, services)
        background = [asyncio.create_task(clean_up_periodically(services))]
        if settings.api_key is None:
            background.append(asyncio.create_task(stop_if_open()))
        yield
        for task in background:
            task.cancel()
        await client.close()
        await close_services(services)

    remove_compress_type("text/event-stream")  # events are small, and must not wait in a buffer
    root = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    install_http(root)
    root.mount("/api", api)
    # The dashboard is a client like any other, but its calls do not leave the process: they go to the API
    # inside the server's own guards, for whoever the browser's request is (backend.web.access.callers).
    inside = Starlette(routes=[Mount("/api", api)])
    client = AsyncClient("http://localhost", transport=httpx.ASGITransport(inside, raise_app_exceptions=False))
    authenticator = _authenticator(services)
    if authenticator is not None:
        login.install(root, authenticator)
    answers = metrics.install(root, services)
    dashboard = attach(root, client, settings.root_path)
    _add_guards(root, services, authenticator)
    root.add_middleware(CountAnswers, answers=answers)
    root.add_middleware(LogRequests)
    if settings.root_path:
        root.add_middleware(UnderPath, path=settings.root_path)
    _add_security_headers(root, dashboard.csp_hashes(), settings.frame_ancestors)
    return root


def _add_guards(root: FastAPI, services: Services, authenticator: Authenticator | None) -> None:
    """Add what a request passes before a route reads it, the innermost first."""
    settings = services.settings
    # Brotli's 5 makes the scripts 12 % smaller than zstd's 4 and gzip's 6; higher qualities take seconds.
    root.add_middleware(CompressMiddleware, minimum_size=2048, zstd=False, brotli_quality=5)
    root.add_middleware(CacheAssets)
    root.add_middleware(LimitBody, limit=settings.max_body_bytes)
    root.add_middleware(RequireSameOrigin)
    if authenticator is None:
        root.add_middleware(RequireLoopback)
        return
    redis, limit = services.queues.redis, settings.requests_per_minute
    root.add_middleware(RequireKey, authenticator=authenticator, redis=redis, requests_per_minute=limit)


def _authenticator(services: Services) -> Authenticator | None:
    """Return what looks up keys; None where no key is needed."""
    key = services.settings.api_key
    return None if key is None else Authenticator(services.records, services.queues.redis, key.get_secret_value())


def _add_security_headers(root: FastAPI, scripts: Sequence[str], ancestors: str) -> None:
    """Put the headers around everything, also around what answers for errors that no middleware sees."""
    build = root.build_middleware_stack
    stack = lambda: SecurityHeaders(build(), scripts, ancestors)  # noqa: E731  # assigned to the instance only
    root.build_middleware_stack = stack  # type: ignore[method-assign]
