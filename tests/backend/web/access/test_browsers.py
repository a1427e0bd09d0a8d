"""What a browser sends without asking first changes nothing; every answer has the headers that protect its pages."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from backend.web.access.browsers import SecurityHeaders, _is_foreign
from modelshapley.client import Client
from tests.conftest import Server

FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost"},
    {"Origin": "file://"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
]
TASK = {"kind": "language-modelling", "source": {"path": "x.txt"}}
HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_changes_nothing(server: Server, api: Client, headers: dict[str, str]) -> None:
    before = {task.id for task in api.tasks()}
    body = json.dumps(TASK | {"name": "foreign"})
    url = f"{server.url}/api/v1"
    for kind in ("application/json", "application/yaml", "text/plain"):
        answer = httpx.post(f"{url}/tasks", content=body, headers=headers | {"content-type": kind})
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.delete(f"{url}/tasks/foreign", headers=headers).status_code == 403
    assert httpx.put(f"{url}/runs/x/deleted", headers=headers).status_code == 403
    assert httpx.post(f"{url}/uploads/0123456789ab/finish", headers=headers).status_code == 403
    assert httpx.post(f"{server.url}/_dash-update-component", json={}, headers=headers).status_code == 403
    assert {task.id for task in api.tasks()} == before
    assert httpx.get(f"{url}/tasks", headers=headers).status_code == 200


def test_a_foreign_page_opens_no_websocket(server: Server) -> None:
    address = server.url.replace("http", "ws") + "/_dash-ws-callback"
    with pytest.raises(WebSocketException), connect(address, additional_headers={"Origin": "http://evil.example"}):
        pass


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "{url}"}, {"Origin": "{url}", "Sec-Fetch-Site": "same-origin"}], ids=str
)
def test_scripts_and_own_pages_go_on(server: Server, api: Client, headers: dict[str, str]) -> None:
    filled = {name: value.format(url=server.url) for name, value in headers.items()}
    answer = httpx.post(f"{server.url}/api/v1/tasks", json=TASK | {"name": "own"}, headers=filled)
    assert answer.status_code == 201, answer.text
    api.drop_task("own")


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({"origin": "https://lab.example", "host": "lab.example"}, False),
        ({"origin": "https://lab.example", "host": "lab.example:443"}, False),
        ({"origin": "https://LAB.example:8443", "host": "lab.example:8443"}, False),
        ({"origin": "https://lab.example", "host": "127.0.0.1:8050", "x-forwarded-host": "lab.example"}, False),
        ({"origin": "https://lab.example", "host": "127.0.0.1:8050", "sec-fetch-site": "same-origin"}, False),
        ({"origin": "https://lab.example", "host": "127.0.0.1:8050"}, True),
        ({"origin": "https://lab.example.evil", "host": "lab.example"}, True),
        ({"origin": "", "host": "lab.example"}, True),
        ({"origin": "https://", "host": ""}, True),
        ({"host": "lab.example"}, False),
    ],
    ids=str,
)
def test_origins_behind_a_proxy(headers: dict[str, str], foreign: bool) -> None:
    assert _is_foreign(Headers(headers)) is foreign


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
@pytest.mark.parametrize("path", ["tasks", "tasks/checks", "runs", "runs/estimate", "trials", "groups", "uploads"])
def test_json_needs_its_media_type(server: Server, path: str, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = httpx.post(f"{server.url}/api/v1/{path}", content=b"{}", headers=headers)
    assert answer.status_code == 415, answer.text
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/ld+json"])
def test_json_is_read(server: Server, kind: str) -> None:
    answer = httpx.post(f"{server.url}/api/v1/runs", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/system",
        "/api/v1/health",
        "/api/v1/runs/nothing",
        "/api/v1/nothing",
        "/api/docs",
        "/api/docs.js",
        "/api/redoc",
        "/api/openapi.json",
        "/assets/style.css",
        "/_dash-layout",
        "/runs/nothing/report",
    ],
)
def test_headers_of_every_answer(server: Server, path: str) -> None:
    answer = httpx.get(server.url + path)
    for name, value in HEADERS.items():
        assert value in answer.headers[name], (path, name)
    policy = answer.headers["content-security-policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe" not in scripts
    assert "http" not in scripts


def test_headers_of_refusals(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    answers = [
        httpx.get(server.url, headers={"host": f"evil.example:{port}"}),
        httpx.post(f"{server.url}/api/v1/tasks", headers={"origin": "null"}),
        httpx.post(f"{server.url}/api/v1/tasks", content=b"x" * 9_000_000),
    ]
    assert [answer.status_code for answer in answers] == [421, 403, 413]
    for answer in answers:
        assert set(HEADERS) <= set(answer.headers)


def test_embedders_are_named() -> None:
    headers: Any = dict(SecurityHeaders(lambda *_: None, [], "'self' https://lab.example")._headers)  # type: ignore[arg-type]
    assert headers["Content-Security-Policy"].endswith("frame-ancestors 'self' https://lab.example")
    assert "X-Frame-Options" not in headers
