"""Who opens a map for the first time is shown around once; controls explain themselves."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from modelshapley.contracts import Run
from tests.conftest import Server
from tests.e2e.map.test_dashboard import assert_accessible, expect_map


@pytest.mark.first_visit
def test_a_tour_of_three_marks_is_shown_once(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(f"{server.url}/runs/{digits_run.id}")
    tour = page.locator(".tour")
    expect(tour).to_contain_text("1 of 3")
    assert_accessible(page)
    page.get_by_role("button", name="Next").click()
    expect(tour).to_contain_text("The accuracy without them")
    page.get_by_role("button", name="Next").click()
    expect(tour).to_contain_text("How far to trust this map")
    expect(tour.get_by_role("link", name="How to read this map")).to_be_visible()
    page.get_by_role("button", name="Done").click()
    expect(tour).to_have_count(0)
    page.reload()
    expect_map(page)
    page.wait_for_timeout(500)
    expect(tour).to_have_count(0)


def test_controls_explain_themselves_and_a_page_explains_the_map(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(f"{server.url}/runs/{digits_run.id}")
    expect_map(page)
    for name in ("Method", "Rank by", "Discount for harmful effects", "Colours", "Select a share", "Precision"):
        page.get_by_label(f"About: {name}").click()
        expect(page.locator(".info[open] .panel")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(".info[open]")).to_have_count(0)
    page.get_by_role("link", name="How to read this map").click()
    expect(page.get_by_role("heading", name="What a colour means")).to_be_visible()
    assert_accessible(page)


def test_the_keyboard_skips_the_navigation_and_meets_the_tray_before_the_list(
    page: Page, server: Server, digits_run: Run
) -> None:
    page.goto(f"{server.url}/runs/{digits_run.id}")
    expect_map(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    order = page.evaluate("""() => {
        const all = [...document.querySelectorAll('*')];
        return ['#map', '#apply', '#top-units'].map((s) => all.indexOf(document.querySelector(s)));
    }""")
    assert order == sorted(order)
