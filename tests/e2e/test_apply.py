"""The page Apply in a real browser: from a map to a smaller model, and on to that model's own map."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Off, Run, Status
from modelshapley.contracts.derived import DerivedRequest
from tests.conftest import DIGITS_RUN, Server
from tests.e2e.conftest import Scheme, WatchedPage
from tests.e2e.map.test_code import code_on, run_python
from tests.e2e.map.test_dashboard import assert_accessible, expect_map, open_map, taken

SLOW_MS = 120_000


@pytest.fixture(scope="module")
def run(api: Client) -> Run:
    request = DIGITS_RUN.model_copy(update={"methods": ["two-sided"], "faithfulness": "none", "seed": 11})
    return api.wait(api.submit_run(request).id)


def open_apply(page: Page, server: Server, run: Run) -> None:
    page.goto(f"{server.url}/runs/{run.id}/apply")
    expect(page.get_by_role("heading", name="Use this map")).to_be_visible(timeout=30_000)
    expect(page.locator("#apply-list")).not_to_be_empty()


def test_from_the_map_to_a_smaller_model_to_its_own_map(page: Page, server: Server, api: Client, run: Run) -> None:
    open_map(page, server, run)
    page.get_by_role("link", name="Use this map").click()
    expect(page).to_have_url(re.compile(rf"/runs/{run.id}/apply$"))
    expect(page.get_by_text("Nothing has been made from this run yet.")).to_be_visible()
    page.locator("#apply-kind").get_by_text("Layers").click()
    expect(page.locator("#apply-bytes")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#apply-prediction")).to_contain_text(
        re.compile(r"accuracy \d+\.\d % .*n 360$"), timeout=SLOW_MS
    )
    predicted = page.inner_text("#apply-prediction")
    page.get_by_label("Name").fill("three-layers")
    page.get_by_role("button", name="Make the model").click()
    expect(page.get_by_role("heading", name="three-layers")).to_be_visible()
    expect(page.get_by_role("button", name="Score this model")).to_be_visible(timeout=SLOW_MS)
    (made,) = api.all_derived(run.id)
    assert made.status is Status.DONE
    assert made.info is not None
    size = (server.data / "derived" / "three-layers" / "model.safetensors").stat().st_size
    assert f"{size:,} bytes" in predicted
    assert f"accuracy {100 * made.info.trial.accuracy:.1f} %" in predicted  # gated and cut out: the same
    page.locator("#apply-list").get_by_text("Code", exact=True).click()
    assert "done derived:three-layers" in run_python(code_on(page, "Python"))
    page.get_by_role("button", name="Score this model").click()
    expect(page).not_to_have_url(re.compile("apply$"), timeout=30_000)
    expect_map(page, timeout=SLOW_MS)
    expect(page.get_by_role("heading", name="three-layers on digits")).to_be_visible()
    open_apply(page, server, run)
    expect(page.get_by_role("link", name="Its own map")).to_be_visible()
    page.get_by_role("button", name="Delete three-layers").click()
    expect(page.locator("#apply-list-problem")).to_contain_text("is used by run")


@pytest.mark.slow
def test_the_best_mix_is_made_with_its_candidates(page: Page, server: Server, api: Client, run: Run) -> None:
    open_apply(page, server, run)
    expect(page.locator("#apply-prediction")).to_contain_text("Compares several methods")
    page.get_by_role("button", name="Make the model").click()
    expect(page.locator("#apply-problem")).to_contain_text("Give the model a name")
    page.get_by_label("Name").fill("mix")
    page.get_by_role("button", name="Make the model").click()
    card = page.locator("#apply-list .mantine-Card-root").filter(has_text="mix")
    expect(card.get_by_role("button", name="Score this model")).to_be_visible(timeout=SLOW_MS)
    card.get_by_text("Candidates", exact=True).click()
    expect(card.locator("tbody tr").first).to_be_visible()
    card.get_by_role("button", name="Delete mix").click()
    expect(page.get_by_role("heading", name="mix")).to_have_count(0)
    assert not (server.data / "derived" / "mix").exists()


def test_a_size_that_cannot_be_reached_is_said(page: WatchedPage, server: Server, run: Run) -> None:
    open_apply(page, server, run)
    page.locator("#apply-kind").get_by_text("Neurons").click()
    expect(page.locator("#apply-prediction")).to_contain_text("cannot be removed as neurons alone", timeout=SLOW_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_is_accessible_and_fits(page: Page, server: Server, run: Run, scheme: Scheme, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 860})
    open_apply(page, server, run)
    page.locator("#apply-kind").get_by_text("Heads").click()
    expect(page.locator("#apply-bytes")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#apply-prediction")).to_contain_text("n 360", timeout=SLOW_MS)
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_pictures_of_apply(page: Page, server: Server, api: Client, run: Run, tmp_path: Path) -> None:
    """Of docs/apply.md, into the folder that PICTURES names."""
    request = DerivedRequest(run=run.id, name="digits-three-layers", off=Off(layer=[1]), method="two-sided")
    made = api.wait_derived(api.derive(request).id)
    page.set_viewport_size({"width": 1440, "height": 860})
    open_apply(page, server, run)
    page.locator("#apply-kind").get_by_text("Heads").click()
    expect(page.locator("#apply-prediction")).to_contain_text("n 360", timeout=SLOW_MS)
    expect(page.get_by_role("heading", name="digits-three-layers")).to_be_visible()
    assert taken(page, Path(os.environ.get("PICTURES", tmp_path)) / "apply.png") > 20_000
    api.drop_derived(made.id)
