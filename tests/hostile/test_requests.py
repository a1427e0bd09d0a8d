"""Every hostile request is refused with a reason, in one shape, within seconds, and the server goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from modelshapley.contracts import Problem
from tests.hostile.requests import REQUESTS
from tests.support.in_process import serving

MAX_SECONDS, MAX_REASON = 5.0, 3000


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("hostile"), hub="false") as client:
        yield client


def test_there_are_some_hundred() -> None:
    assert len(REQUESTS) >= 100


@pytest.mark.parametrize("what", REQUESTS)
def test_is_refused_with_a_reason(web: TestClient, what: str) -> None:
    request = REQUESTS[what]
    body = request.body if isinstance(request.body, bytes | None) else json.dumps(request.body).encode()
    headers = ({"content-type": request.kind} if request.kind and body is not None else {}) | request.headers
    started = time.monotonic()
    answer = web.request(request.method, f"/api/v1{request.path}", content=body, headers=headers)
    assert time.monotonic() - started < MAX_SECONDS
    assert 400 <= answer.status_code < 500, answer.text[:500]
    if answer.headers["content-type"] == "application/problem+json":
        problem = Problem.model_validate_json(answer.content)
        reason = problem.detail + " ".join(f"{error.field} {error.message}" for error in problem.errors)
    else:  # a host that nobody trusts gets a line of text
        reason = answer.text
    assert reason.strip()
    assert len(reason) < MAX_REASON
    assert "Traceback" not in reason
    assert "internal" not in reason.lower()


def test_the_server_is_as_it_was(web: TestClient) -> None:
    assert web.get("/api/v1/health").status_code in (200, 503)
    assert web.get("/api/v1/runs").json()["total"] == 0
    assert web.get("/api/v1/keys").json() == []
    assert web.get("/api/v1/uploads").json() == []
    assert {task["id"] for task in web.get("/api/v1/tasks").json()} >= {"digits", "world-capitals"}
