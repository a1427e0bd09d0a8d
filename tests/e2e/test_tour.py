"""The pictures of docs/tour.md, taken on the demo runs; `make pictures` renews them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run
from tests.conftest import Server
from tests.e2e.map.test_dashboard import measured, open_map, taken

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_pictures_for_the_tour(
    page: Page, server: Server, api: Client, capitals_run: Run, digits_run: Run, tmp_path: Path
) -> None:
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    sizes: dict[str, int] = {}

    def take(name: str, settle_ms: int = 800) -> None:
        page.wait_for_timeout(settle_ms)
        sizes[name] = taken(page, pictures / f"{name}.png")

    api.checked(digits_run.id)
    page.goto(f"{server.url}/new")
    expect(page.get_by_role("button", name="Score", exact=True)).to_be_visible()
    take("tour-new", 2000)
    open_map(page, server, capitals_run, "?unit=neuron&look=percentile,sorted")
    take("tour-sorted")
    open_map(page, server, digits_run, "?unit=head&off=least:0.7:head:two-sided")
    measured(page)
    page.locator("#share [role=slider]").focus()
    for _ in range(15):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(250)
    take("tour-tray", 2500)
    page.locator("#trial-details > summary").click()
    expect(page.locator("#flip-counts")).to_be_visible(timeout=20_000)
    page.locator("#trial-details").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('trial-details').scrollIntoView({block: 'start'}); window.scrollBy(0, -80)")
    take("tour-changed")
    page.locator("#top-search").fill("0.0")
    page.locator("#top-units button[data-unit]").first.click()
    page.locator("#find-examples").click()
    expect(page.locator("#unit-examples .flip").first).to_be_visible(timeout=20_000)
    page.evaluate("document.getElementById('unit-panel').scrollIntoView({block: 'start'}); window.scrollBy(0, -80)")
    take("tour-unit")
    page.goto(f"{server.url}/compare?a={digits_run.id}:two-sided&b={digits_run.id}:random&unit=head&top=20")
    expect(page.get_by_text("Do the rankings agree?")).to_be_visible()
    take("tour-compare", 2500)
    page.goto(f"{server.url}/runs/{digits_run.id}/trust?method=two-sided&unit=head")
    expect(page.locator("#verdict")).to_be_visible()
    take("tour-trust", 2500)
    page.goto(f"{server.url}/system")
    expect(page.get_by_role("heading", name="Workers", exact=False).first).to_be_visible()
    take("tour-system", 2000)
    assert {name: size for name, size in sizes.items() if size < 20_000} == {}


@pytest.mark.slow  # loads the language model
def test_pictures_of_a_prompt(page: Page, server: Server, capitals_run: Run, tmp_path: Path) -> None:
    def take(name: str) -> None:
        page.wait_for_timeout(800)
        assert taken(page, Path(os.environ.get("PICTURES", tmp_path)) / f"{name}.png") > 20_000

    page.goto(f"{server.url}/try?run={capitals_run.id}&off=most:0.05:head:two-sided")
    page.get_by_label("Prompt").fill("Which city is the capital of Japan, and what is it known for?")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#try-strip button").first).to_be_visible(timeout=60_000)
    page.evaluate("window.scrollTo(0, 0)")
    take("tour-try")


def test_the_tour_shows_every_picture_that_is_taken() -> None:
    tour = (ROOT / "docs" / "tour.md").read_text()
    taken_here = set(re.findall(r'take\("(tour-\w+)"', Path(__file__).read_text()))
    assert set(re.findall(r"\(pictures/(tour-\w+)\.png\)", tour)) == taken_here
    for name in taken_here:
        assert (ROOT / "docs" / "pictures" / f"{name}.png").exists(), name
