"""Logging in and out, keys and the audit log in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from modelshapley.client import ApiError, Client
from modelshapley.contracts import KeyRequest, Scope
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Looks, WatchedPage
from tests.e2e.map.test_dashboard import assert_accessible
from tests.e2e.test_cards import assert_cards

SERVER_KEY = "the key of the settings"


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    return start_server("--workers", "0", MODELSHAPLEY_API_KEY=SERVER_KEY)


def log_in(page: WatchedPage, server: Server, key: str, path: str = "/keys") -> None:
    page.allowed.append("401")  # the page with the form says so, as scripts need to know
    page.goto(server.url + path)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_a_wrong_key_is_refused_and_the_right_one_leads_back(page: WatchedPage, house: Server) -> None:
    log_in(page, house, "wrong")
    expect(page.get_by_role("alert")).not_to_be_empty()
    page.get_by_label("API key").fill(SERVER_KEY)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{house.url}/keys")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.goto(f"{house.url}/keys").status == 401


def test_a_key_is_made_used_and_revoked(page: WatchedPage, house: Server, browser: Browser) -> None:
    log_in(page, house, SERVER_KEY)
    page.get_by_label("Name").fill("-bad")
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_text("the first a letter or digit")).to_be_visible()
    page.get_by_label("Name").fill("ada")
    page.locator("#key-scope").click()
    page.get_by_role("option", name="read: see everything").click()
    page.get_by_label("Requests a minute").fill("500")
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("#new-secret")).to_be_visible()
    secret = page.inner_text("#new-secret")
    with Client(house.url, secret) as ada:
        assert (ada.me().name, ada.me().scope) == ("ada", Scope.READ)
        with pytest.raises(ApiError, match="needs 'admin'"):
            ada.keys()
    expect(page.get_by_role("region", name="Keys")).to_contain_text("adaread500default")
    expect(page.get_by_role("region", name="Audit log")).to_contain_text("server keycreate keyada")
    assert secret not in httpx.get(f"{house.url}/api/v1/keys", headers={"Authorization": f"Bearer {SERVER_KEY}"}).text
    page.reload()
    expect(page.get_by_role("region", name="Keys")).to_be_visible()
    assert secret not in page.content(), "it is shown this once"
    other = browser.new_page()
    other.goto(f"{house.url}/keys")
    other.get_by_label("API key").fill(secret)
    other.get_by_role("button", name="Log in").click()
    expect(other.get_by_role("heading", name="For admins only")).to_be_visible()
    expect(other.get_by_role("link", name="Keys", exact=True)).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Revoke the key ada").click()
    page.wait_for_timeout(300)
    expect(page.get_by_role("button", name="Revoke the key ada")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke the key ada").click()
    expect(page.get_by_role("region", name="Keys")).to_contain_text("revoked 20")
    expect(page.get_by_role("region", name="Audit log")).to_contain_text("revoke keyada")
    other.wait_for_timeout(5500)
    assert other.goto(f"{house.url}/keys").status == 401, "a log-in ends with its key"
    other.close()


def test_the_page_fits_and_is_accessible(page: WatchedPage, house: Server, looks: Looks, tmp_path: Path) -> None:
    with Client(house.url, SERVER_KEY) as api:
        api.create_key(KeyRequest(name="grace", scope=Scope.SUBMIT, max_queued=20))
    log_in(page, house, SERVER_KEY)
    expect(page.get_by_role("region", name="Audit log")).to_contain_text("create key")
    for scheme, width in looks((390, 1440)):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width == 390:
            assert_cards(page, 2)
        assert_accessible(page)
        folder = Path(os.environ.get("PICTURES", tmp_path))
        page.screenshot(path=folder / f"keys-{scheme}-{width}.png", full_page=True)
