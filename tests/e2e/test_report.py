"""The report in a real browser, from a file, with no network at all."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, Run, RunRequest, TrialRequest
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Scheme
from tests.e2e.map.test_dashboard import assert_accessible, open_map
from tests.support.command_line import run


def test_the_file_opens_with_the_network_refused(
    browser: Browser, server: Server, api: Client, digits_run: Run, tmp_path: Path
) -> None:
    api.checked(digits_run.id)
    trial = api.measure(TrialRequest(run=digits_run.id, off=Off(head=[(0, 0), (1, 1)])))
    answer = httpx.get(f"{server.url}/runs/{digits_run.id}/report", params={"method": "path-shapley,points=2"})
    assert answer.status_code == 200
    file = tmp_path / "report.html"
    file.write_bytes(answer.content)
    context = browser.new_context(offline=True, viewport={"width": 1024, "height": 700})
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", level=1)).to_have_text("digits-vit on digits")
    expect(page.get_by_role("region", name=re.compile("newest trial"))).to_contain_text(f"{100 * trial.accuracy:.1f} %")
    expect(page.locator("svg.map")).to_have_count(3)
    expect(page.locator("svg.curve")).to_have_count(6)
    schemes: tuple[Scheme, ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1024
    assert (asked, said) == ([file.as_uri()], [])
    context.close()


def test_it_is_linked_from_the_map(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    page.get_by_text("Download").click()
    page.get_by_role("link", name="Full report (HTML)").click()
    expect(page.get_by_role("heading", name="Provenance")).to_be_visible()
    expect(page.get_by_text(f"Run {digits_run.id}")).to_be_visible()


def test_what_there_is_no_report_of(server: Server, digits_run: Run, start_server: StartServer) -> None:
    for path, words in (("nope", "There is no run 'nope'."), (f"{digits_run.id}", "was not scored by 'wheel'")):
        answer = httpx.get(f"{server.url}/runs/{path}/report?method=wheel")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert words in answer.json()["detail"]
    idle = start_server("--workers", "0")
    with Client(idle.url) as api:
        waiting = api.submit_run(RunRequest(model="demo:digits-vit", task="digits"))
    answer = httpx.get(f"{idle.url}/runs/{waiting.id}/report")
    assert answer.status_code == 409
    assert "once it is done" in answer.json()["detail"]


def test_the_same_file_from_a_script_and_from_the_command_line(
    server: Server, api: Client, digits_run: Run, tmp_path: Path
) -> None:
    api.save_report(digits_run.id, tmp_path / "a.html", "random")
    assert "Random (random)" in (tmp_path / "a.html").read_text()
    with pytest.raises(ApiError, match="was not scored by 'wheel'"):
        api.save_report(digits_run.id, tmp_path / "b.html", "wheel")
    assert not (tmp_path / "b.html").exists()
    told = run("report", digits_run.id, "--out", "c.html", "--url", server.url, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "Two-sided (two-sided)" in (tmp_path / "c.html").read_text()
    refused = run("report", "nope", "--out", "d.html", "--url", server.url, cwd=tmp_path)
    assert (refused.returncode, "There is no run 'nope'" in refused.stderr) == (1, True)


def test_it_wants_the_key_where_there_is_one(start_server: StartServer) -> None:
    server = start_server("--workers", "0", MODELSHAPLEY_API_KEY="secret-enough")
    assert httpx.get(f"{server.url}/runs/any/report").status_code == 401
    assert httpx.get(f"{server.url}/runs/any/report", auth=("", "secret-enough")).status_code == 404
