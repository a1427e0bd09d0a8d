"""The API against its own description, with inputs made up by schemathesis."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.conftest import Server

QUICK = settings(
    max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow  # hundreds of calls
def test_no_input_breaks_the_server(server: Server) -> None:
    """Every answer is of a kind that the description allows, none is a server error."""
    schema = schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith("/events"):
            continue  # a stream; its errors are tested by hand

        @QUICK
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case[Any]) -> None:
            answer = case.call(timeout=30)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]

        check()
        tried += 1
    assert tried >= 10


def test_the_description_has_examples(server: Server) -> None:
    components = httpx.get(f"{server.url}/api/openapi.json").json()["components"]["schemas"]
    assert components["RunRequest"]["examples"]
    assert components["TrialRequest"]["examples"]


def test_every_error_is_described_as_a_problem(server: Server) -> None:
    schema = httpx.get(f"{server.url}/api/openapi.json").json()
    assert "Problem" in schema["components"]["schemas"]
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            statuses = {"400", "404", "422", "503"} | ({"409", "415"} if method != "get" else set())
            assert statuses <= set(operation["responses"]), (method, path)
            for status in statuses:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"]


def test_a_refused_method_names_all_that_a_path_has(server: Server) -> None:
    described = httpx.get(f"{server.url}/api/openapi.json").json()["paths"]
    for path, operations in described.items():
        answer = httpx.options(f"{server.url}/api{path.replace('{', '').replace('}', '')}")
        assert answer.status_code == 405
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed - {"HEAD"} == {method.upper() for method in operations}, path


def test_head_wherever_get_is(server: Server) -> None:
    for path in ("health", "models", "runs", "tasks", "limits", "runs/nothing", "runs/nothing/events", "nothing"):
        head, get = (httpx.request(method, f"{server.url}/api/v1/{path}") for method in ("HEAD", "GET"))
        assert head.status_code == get.status_code, path
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.content == b""
