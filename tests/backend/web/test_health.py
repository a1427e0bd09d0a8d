"""Health names the true cause, and no state of a worker makes it fail."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from typing import Any

import httpx
import pytest

from backend.web.problems import _database_problem
from modelshapley.client import Client
from tests.conftest import CAPITALS_RUN, StartServer


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_stopped_worker_is_told_and_breaks_nothing(start_server: StartServer) -> None:
    server = start_server()
    with Client(server.url) as api:
        run = api.submit_run(CAPITALS_RUN.model_copy(update={"limit": 64}))
        until = time.monotonic() + 60
        while not any(worker.current for worker in api.workers()):
            assert time.monotonic() < until
            time.sleep(0.05)
        (worker,) = api.workers()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            until, problems = time.monotonic() + 32, set()
            while time.monotonic() < until:
                health = httpx.get(f"{server.url}/api/v1/health")
                assert health.status_code == 200, health.text
                assert httpx.get(f"{server.url}/api/v1/workers").status_code == 200
                problems.add((health.json()["problem"] or "").partition(" was last heard")[0])
                time.sleep(0.5)
            assert f"No worker is running: {worker.name}" in problems
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        until = time.monotonic() + 20
        while api.health().status != "ok":
            assert time.monotonic() < until
            time.sleep(0.2)
        api.cancel_run(run.id)


@pytest.mark.parametrize(
    ("words", "status", "cause"),
    [
        ("database or disk is full", 507, "disk"),
        ("database disk image is malformed", 503, "damaged"),
        ("file is not a database", 503, "damaged"),
        ("attempt to write a readonly database", 503, "read-only"),
        ("database is locked", 503, "busy"),
        ("connection refused", 503, "does not respond"),
    ],
)
def test_errors_of_the_database_name_their_cause(words: str, status: int, cause: str) -> None:
    found, detail = _database_problem(words)
    assert found == status
    assert cause in detail


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from types import SimpleNamespace

    from backend.web.routes.about import _problem

    services: Any = SimpleNamespace(settings=SimpleNamespace(data=tmp_path))
    assert _problem(services, workers=1) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "disk of the server is full" in (_problem(services, workers=1) or "")


def test_files_are_for_their_owner_alone(start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    for file in server.data.rglob("*"):
        if not file.is_symlink() and "demo" not in file.parts and file.name != "up.log":
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
