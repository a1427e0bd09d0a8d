"""Named keys: what each may do and how much, whose work is whose, who changed what, and browsers' log-ins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from backend.settings import Settings
from backend.store.records import Records
from backend.web.access.callers import ADMINISTERS, MEASURES, scope_of
from modelshapley.contracts import KeyRequest, Scope
from tests.support.in_process import serving

SERVER_KEY = "the key of the settings"
RUN = {"model": "demo:digits-vit", "task": "digits", "methods": ["mean-abs"], "units": ["head"], "limit": 8}
PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def web(data: Path) -> Iterator[TestClient]:
    with serving(data, api_key=SERVER_KEY, max_queued="3") as client:
        yield client


def send(web: TestClient, key: str | None, method: str, path: str, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer: Any = web.request(method, f"/api/v1{path}", headers=headers, **options)
    return answer


def make(web: TestClient, name: str, scope: str = "submit", **limits: int) -> str:
    made = send(web, SERVER_KEY, "POST", "/keys", json={"name": name, "scope": scope, **limits})
    assert made.status_code == 201, made.text
    return str(made.json()["secret"])


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"read"}),
        ("measure", {"read", "measure"}),
        ("submit", {"read", "measure", "submit"}),
        ("admin", {"read", "measure", "submit", "admin"}),
    ],
)
def test_a_scope_allows_what_it_names_and_those_before(web: TestClient, scope: str, allowed: set[str]) -> None:
    key = make(web, f"for {scope}", scope)
    requests: dict[str, tuple[str, str, Any]] = {
        "read": ("GET", "/runs", None),
        "measure": ("POST", "/runs/estimate", RUN),
        "submit": ("POST", "/uploads", {}),  # invalid, but a key that may not even ask is refused before
        "admin": ("GET", "/audit", None),
    }
    for needed, (method, path, body) in requests.items():
        status = send(web, key, method, path, json=body).status_code
        assert (status != 403) == (needed in allowed), (needed, status)
    assert send(web, key, "GET", "/me").json() == {"name": f"for {scope}", "scope": scope, "keys_needed": True}


def test_every_route_that_changes_something_needs_more_than_read(web: TestClient) -> None:
    schema = web.get("/api/openapi.json", headers={"Authorization": f"Bearer {SERVER_KEY}"}).json()
    functions = {
        operation["operationId"].partition("_v1_")[0]: method
        for path in schema["paths"].values()
        for method, operation in path.items()
    }
    assert set(functions) >= MEASURES | ADMINISTERS, "a route that is listed exists"
    for function, method in functions.items():
        assert method == "get" or scope_of(method.upper(), function) is not Scope.READ


def test_only_hashes_of_secrets_are_stored(web: TestClient, data: Path) -> None:
    secret = make(web, "hashed")
    with create_engine(Settings(data=data).records_url).connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM keys WHERE name = 'hashed'")).mappings()
    assert secret.rsplit("_", 1)[1] not in str(dict(row))
    assert secret not in send(web, SERVER_KEY, "GET", "/keys").text


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + "x", lambda s: "ms_" + s, lambda s: s.swapcase()])
def test_almost_a_secret_is_none(web: TestClient, change: Any) -> None:
    secret = make(web, f"almost {id(change)}")
    assert send(web, change(secret), "GET", "/me").status_code == 401


def test_a_revoked_key_ends(data: Path) -> None:
    records = Records(Settings(data=data).records_url)
    key = records.add_key(KeyRequest(name="revoked"))
    assert records.key_of(key.secret) is not None
    records.revoke_key("revoked")
    assert records.key_of(key.secret) is None
    records.close()


def test_requests_in_a_minute_are_limited_and_counted_for_all_web_servers(web: TestClient) -> None:
    key, other = make(web, "busy", requests_per_minute=5), make(web, "calm")
    statuses = [send(web, key, "GET", "/me").status_code for _ in range(12)]
    # A minute may end meanwhile, after which five more are allowed.
    assert statuses.count(200) in range(5, 11)
    refused = send(web, key, "GET", "/me")
    if refused.status_code == 429:
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "'busy'" in refused.json()["detail"]
    assert 429 in statuses
    assert send(web, other, "GET", "/me").status_code == 200


def test_open_work_is_limited_runs_are_named_and_others_may_not_end_them(web: TestClient) -> None:
    key, other = make(web, "owner"), make(web, "other")
    runs = [send(web, key, "POST", "/runs", json=RUN).json() for _ in range(3)]
    assert {run["owner"] for run in runs} == {"owner"}
    grouped = [run["owner"] for run in send(web, SERVER_KEY, "GET", "/runs?order=owner").json()["items"]]
    named = [owner for owner in grouped if owner is not None]
    assert grouped == sorted(named) + [None] * (len(grouped) - len(named))
    refused = send(web, key, "POST", "/runs", json=RUN)
    assert refused.status_code == 429
    assert "3" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) > 0
    first = f"/runs/{runs[0]['id']}"
    assert send(web, other, "DELETE", first).status_code == 403
    assert send(web, key, "DELETE", first).json()["status"] == "cancelled"
    assert send(web, other, "PUT", f"{first}/deleted").status_code == 403
    assert send(web, SERVER_KEY, "PUT", f"{first}/deleted").status_code == 200
    assert send(web, key, "POST", "/runs", json=RUN).status_code == 202
    audit = send(web, SERVER_KEY, "GET", "/audit").json()
    noted = [(entry["key"], entry["action"]) for entry in audit if entry["target"] == runs[0]["id"]]
    assert noted == [(None, "delete_run"), ("owner", "cancel_run"), ("owner", "submit_run")]


def test_a_browser_logs_in_and_out(web: TestClient) -> None:
    key = make(web, "browser", "read")
    asked = web.get("/runs/abc?unit=head", headers=PAGE)
    assert asked.status_code == 401
    assert 'value="/runs/abc?unit=head"' in asked.text
    assert "www-authenticate" not in asked.headers
    wrong = web.post("/login", data={"key": "wrong", "next": "/"})
    assert wrong.status_code == 401
    assert "not known" in wrong.text
    entered = web.post("/login", data={"key": key, "next": "/runs/abc"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/runs/abc")
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=lax" in entered.headers["set-cookie"]
    assert web.get("/api/v1/me").json()["name"] == "browser"
    assert web.post("/api/v1/runs", json=RUN).status_code == 403
    cookie = "; ".join(f"{name}={value}" for name, value in web.cookies.items())
    assert web.post("/logout").status_code == 303
    web.cookies.clear()
    assert web.get("/api/v1/me", headers={"Cookie": cookie}).status_code == 401


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\r\nX: y"])
def test_a_login_leads_nowhere_else(web: TestClient, path: str) -> None:
    answer = web.post("/login", data={"key": SERVER_KEY, "next": path})
    web.cookies.clear()
    assert answer.headers["location"] == "/"


def test_a_page_of_another_site_logs_nobody_out(web: TestClient) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert web.post("/logout", headers={"Authorization": f"Bearer {SERVER_KEY}", **headers}).status_code == 403


def test_the_dashboard_acts_for_whoever_is_logged_in(web: TestClient) -> None:
    """Its calls stay inside the process, past the guard that reads keys: a reader must not get an admin's rights."""
    key = make(web, "reader", "read")
    body = {
        "output": "account.children",
        "outputs": {"id": "account", "property": "children"},
        "inputs": [{"id": "account", "property": "id", "value": "account"}],
        "changedPropIds": [],
    }
    shown = web.post("/_dash-update-component", json=body, headers={"Authorization": f"Bearer {key}"})
    assert shown.status_code == 200, shown.text
    assert "reader" in shown.text
    assert "scope: read" in shown.text


@pytest.mark.slow
def test_the_command_line_makes_lists_and_revokes(tmp_path: Path) -> None:
    def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "modelshapley.cli", "keys", *arguments, "--data", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    secret = keys("add", "ada", "--scope", "measure").stdout.strip()
    records = Records(Settings(data=tmp_path).records_url)
    assert records.key_of(secret).scope is Scope.MEASURE
    assert secret not in keys("list").stdout
    assert keys("revoke", "ada").returncode == 0
    assert records.key_of(secret) is None
    twice = keys("add", "ada")
    assert twice.returncode == 1
    assert "'ada'" in twice.stderr
    records.close()


def test_a_prompt_is_its_keys_own_and_counts_as_open_work(web: TestClient) -> None:
    image = "data:image/png;base64,AAAA"
    mine, other, reader = (make(web, f"prompts {scope}", scope) for scope in ("measure", "submit", "read"))
    body = {"model": "demo:digits-vit", "image": image}
    assert send(web, reader, "POST", "/prompts", json=body).status_code == 403
    made = [send(web, mine, "POST", "/prompts", json=body) for _ in range(4)]
    assert [answer.status_code for answer in made] == [202, 202, 202, 429]
    prompt = made[0].json()["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/comparison"), ("POST", "/run")):
        answer = send(web, other, method, f"/prompts/{prompt}{path}", json={} if method == "POST" else None)
        assert answer.status_code == 404, (method, path)
    assert send(web, mine, "POST", f"/prompts/{prompt}/run", json={}).status_code == 403
    assert send(web, SERVER_KEY, "GET", f"/prompts/{prompt}").json()["owner"] == "prompts measure"
    assert send(web, mine, "DELETE", f"/prompts/{prompt}").json()["status"] == "cancelled"
    assert send(web, mine, "POST", "/prompts", json=body).status_code == 202  # one less is open
