"""The API against its own description, with inputs made up by schemathesis."""

from __future__ import annotations

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.conftest import Server

QUICK = settings(
    max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


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
