"""Everything under a path of a reverse proxy: nothing is asked for, or linked to, beside it."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from tests.conftest import DIGITS_RUN, Server, StartServer
from tests.e2e.map.test_dashboard import HEADS, click_cell, measured, open_map

PATH = "/lab/shapley"


@pytest.fixture(scope="module")
def placed(start_server: StartServer) -> Server:
    server = start_server(MODELSHAPLEY_ROOT_PATH=PATH)
    return Server(server.process, server.url + PATH, server.data)


@pytest.mark.slow
def test_the_main_job_under_a_path(page: Page, placed: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    with Client(placed.url) as api:
        run = api.wait(api.submit_run(DIGITS_RUN).id)
    open_map(page, placed, run)
    for row in (0, 1):
        click_cell(page, HEADS, row, 0)
    measured(page)
    expect(page).to_have_url(re.compile(rf"{PATH}/runs/{run.id}\?.*off=head"))
    for name in ("Runs", "Compare", "Tasks"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page).to_have_url(re.compile(rf"^http://[^/]+{PATH}/"))
        expect(page.locator("main h1")).to_be_visible()
    beside = [url for url in asked if url.startswith("http") and not re.match(rf"http://[^/]+{PATH}/", url)]
    assert beside == []
    links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
    assert [href for href in links if href.startswith("/") and not href.startswith(PATH)] == []


def test_a_proxy_may_take_the_path_off(placed: Server) -> None:
    bare = placed.url.removesuffix(PATH)
    for url in (bare, placed.url):
        assert httpx.get(f"{url}/api/v1/health").json()["status"] == "ok"
        answer = httpx.post(f"{url}/api/v1/runs", json=DIGITS_RUN.model_dump(mode="json", exclude_unset=True))
        assert answer.headers["location"].startswith(f"{PATH}/api/v1/runs/")
    assert f'data-url="{PATH}/api/openapi.json"' in httpx.get(f"{placed.url}/api/docs").text
