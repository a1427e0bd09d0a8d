"""Runs, Score a model and System in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run, RunRequest
from tests.conftest import Server, StartServer
from tests.e2e.test_dashboard import assert_accessible, expect_map

QUICK = RunRequest(model="demo:digits-vit", task="digits", methods=["mean-abs"], limit=8, faithfulness="none")


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    return start_server()


@pytest.fixture(scope="module")
def api(house: Server) -> Iterator[Client]:
    with Client(house.url) as client:
        yield client


@pytest.fixture(scope="module")
def scored(api: Client) -> dict[str, Run]:
    """Two runs that are done, and a cancelled one."""
    done = {
        method: api.wait(api.submit_run(QUICK.model_copy(update={"methods": [method]})).id)
        for method in ("mean-abs", "fisher-diagonal")
    }
    slow = QUICK.model_copy(update={"methods": ["coalition-shapley,passes=8"], "limit": 288})
    return done | {"cancelled": api.cancel_run(api.submit_run(slow).id)}


def card(page: Page, run: Run) -> object:
    return page.locator(f"#run-{run.id}")


def test_runs_are_searched_and_the_address_says_how(page: Page, house: Server, scored: dict[str, Run]) -> None:
    page.goto(house.url)
    expect(page.locator(".run-card")).to_have_count(3)
    expect(page.locator("#runs-count")).to_have_text("3 runs")
    page.get_by_label("Search runs").fill("Fisher")
    expect(page.locator(".run-card")).to_have_count(1)
    expect(card(page, scored["fisher-diagonal"])).to_contain_text("96.4 to 99.2 %, n 360")
    expect(page).to_have_url(f"{house.url}/?search=Fisher")
    assert page.evaluate("document.activeElement.id") == "runs-search"
    page.locator("#runs-status").get_by_text("Cancelled").click()
    expect(page.get_by_text("No cancelled run has “Fisher” in its model, task or methods.")).to_be_visible()
    expect(page).to_have_url(f"{house.url}/?search=Fisher&status=cancelled")
    page.reload()
    expect(page.get_by_label("Search runs")).to_have_value("Fisher")
    expect(page.get_by_text("No cancelled run has")).to_be_visible()
    page.get_by_role("link", name="Show all runs").click()
    expect(page.locator(".run-card")).to_have_count(3)
    expect(page.get_by_label("Search runs")).to_have_value("")
    page.get_by_label("Search runs").fill("nothing like it")
    expect(page.get_by_text("No run has “nothing like it”")).to_be_visible()
    page.locator("#nav-runs").click()
    expect(page.locator(".run-card")).to_have_count(3)


def test_delete_and_undo(page: Page, house: Server, api: Client, scored: dict[str, Run]) -> None:
    run = scored["mean-abs"]
    page.goto(house.url)
    card(page, run).get_by_role("button", name="Delete").click()
    expect(card(page, run)).to_have_count(0)
    expect(page.locator("#runs-told")).to_contain_text("digits-vit on digits was deleted.")
    assert run.id not in [found.id for found in api.runs().items]
    page.keyboard.press("Enter")  # the way back has the focus
    expect(card(page, run).locator("img")).to_be_visible()
    card(page, run).get_by_role("button", name="Delete").click()
    expect(card(page, run)).to_have_count(0)
    page.locator("#runs-status").get_by_text("Deleted").click()
    expect(card(page, run)).to_contain_text("deleted just now")
    card(page, run).get_by_role("link", name="digits-vit on digits").click()
    expect(page.get_by_role("heading", name="This run was deleted")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Undo").click()
    expect_map(page)
    assert api.run(run.id) == run


def test_a_cancelled_run_is_tried_again(page: Page, house: Server, api: Client, scored: dict[str, Run]) -> None:
    before = api.runs().total
    page.goto(house.url)
    card(page, scored["cancelled"]).get_by_role("button", name="Try again").click()
    expect(page.locator("#runs-told")).to_contain_text("is queued again")
    again = api.runs().items[0]
    assert api.runs().total == before + 1
    assert again.request() == scored["cancelled"].request()
    words = re.compile(r"\d+ of 288 examples · [\d.]+ a second · .* left · worker ")
    expect(card(page, again)).to_contain_text(words, timeout=30_000)
    card(page, again).get_by_role("button", name="Cancel").click()
    expect(card(page, again)).to_contain_text("cancelled", ignore_case=True)
    api.delete_run(again.id)


def test_without_a_worker_a_run_says_how_to_start_one(page: Page, start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        run = api.submit_run(QUICK)
    page.goto(server.url)
    expect(card(page, run)).to_contain_text(
        "No worker is listening, so this waits. Start one: modelshapley worker"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_accessibility_violations(page: Page, house: Server, scored: dict[str, Run], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 1024, "height": 700})
    for path, ready in (("/", ".run-card"), ("/?search=nope", ".state"), ("/new", "#form-submit")):
        page.goto(house.url + path)
        expect(page.locator(ready).first).to_be_visible()
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1024, path
