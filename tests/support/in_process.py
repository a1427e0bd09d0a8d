"""The whole web server inside the test's process, on a real Redis, without workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from fastapi.testclient import TestClient

from frontend.asgi import create
from modelshapley.server.redis_server import RedisServer


@contextmanager
def redis_running(data: Path) -> Iterator[str]:
    """A Redis of its own; yields its URL."""
    plan = RedisServer.plan(data)
    process = plan.start()
    connection = redis.Redis.from_url(plan.url)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                connection.ping()
                break
            except redis.exceptions.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield plan.url
    finally:
        connection.close()
        process.kill()
        process.wait()


@contextmanager
def serving(data: Path, **settings: str) -> Iterator[TestClient]:
    """The web server with these settings, by their names without prefix, in lower case."""
    with pytest.MonkeyPatch.context() as patch, redis_running(data) as url:
        for name, value in ({"data": str(data), "redis_url": url} | settings).items():
            patch.setenv(f"MODELSHAPLEY_{name.upper()}", value)
        with TestClient(create(), base_url="http://127.0.0.1:8050", follow_redirects=False) as client:
            yield client
