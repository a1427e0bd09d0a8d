"""Tables on a phone: each row is a card with the names of its columns, and nothing scrolls sideways."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run
from tests.conftest import Server
from tests.e2e.conftest import Looks
from tests.e2e.map.test_dashboard import assert_accessible, measured, open_map
from tests.prompts.test_answers import picture

TABLES = """() => [...document.querySelectorAll('table.cards')].filter((t) => t.checkVisibility()).map((table) => {
  const rows = [...table.tBodies[0].rows].filter((row) => row.checkVisibility());
  const cells = rows.flatMap((row) => [...row.cells]).filter((cell) => cell.checkVisibility());
  const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const shown = (cell) => getComputedStyle(cell, '::before').content;
  return {
    width: table.scrollWidth - table.clientWidth,
    scrolls: table.closest('[role=region]') ?
      table.closest('[role=region]').scrollWidth - table.closest('[role=region]').clientWidth : 0,
    stacked: rows.every((row) => row.cells.length < 2 || row.getBoundingClientRect().height > 40),
    unnamed: cells.filter((cell) => cell.dataset.label && !titles.includes(cell.dataset.label)).length,
    named: cells.filter((cell) => cell.dataset.label && shown(cell) === `"${cell.dataset.label}"`).length,
    beyond: cells.filter((cell) => cell.getBoundingClientRect().right > window.innerWidth).length,
  };
})"""

# The widest that the page has been so far, looked at in every frame.
WIDEST = """window.widest = 0;
const look = () => {
  if (document.documentElement) window.widest = Math.max(window.widest, document.documentElement.scrollWidth);
  requestAnimationFrame(look);
};
look();"""


def assert_cards(page: Page, least: int) -> list[dict[str, Any]]:
    """Every visible table is a list of cards, at least so many tables; they are tables to screen readers still."""
    found: list[dict[str, Any]] = page.evaluate(TABLES)
    assert len(found) >= least
    for table in found:
        assert table["named"] > 0, found
        assert table["stacked"], found
        assert (table["width"], table["scrolls"], table["unnamed"], table["beyond"]) == (0, 0, 0, 0), found
    assert page.get_by_role("table").count() >= least
    assert page.get_by_role("columnheader").count() >= 2 * least
    widest = page.evaluate("window.widest ?? document.documentElement.scrollWidth")
    assert widest <= 390, "a part widened the page, be it for a moment"
    return found


@pytest.mark.own_page
def test_tables_are_cards_on_a_phone(
    page: Page, server: Server, api: Client, digits_run: Run, looks: Looks, tmp_path: Path
) -> None:
    api.checked(digits_run.id)
    page.set_viewport_size({"width": 390, "height": 844})
    page.add_init_script(WIDEST)
    open_map(page, server, digits_run, "?off=head:0.1")
    measured(page)
    for section in ("trial-details", "past-trials"):
        page.locator(f"#{section} > summary").click()
    expect(page.locator("#past-trials-list tbody tr").first).to_be_visible(timeout=15_000)
    expect(page.locator("#flip-counts")).to_be_visible(timeout=15_000)
    for _ in looks():
        assert_cards(page, 3)
        assert_accessible(page)

    file = tmp_path / "digit.png"
    file.write_bytes(base64.b64decode(picture().partition(",")[2]))
    page.goto(f"{server.url}/try?run={digits_run.id}&off=head:0.1")
    expect(page.get_by_alt_text("the chosen picture")).to_be_hidden()
    page.get_by_label("Picture").set_input_files(file)
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("heading", name="Likeliest classes")).to_be_visible(timeout=60_000)
    for _ in looks():
        assert_cards(page, 2)
        assert_accessible(page)

    page.goto(f"{server.url}/runs/{digits_run.id}/trust")
    expect(page.get_by_role("region", name="All methods of this run")).to_be_visible(timeout=60_000)
    page.evaluate("document.querySelectorAll('details.section').forEach((section) => { section.open = true; })")
    for _ in looks():
        assert_cards(page, 2)
        assert_accessible(page)

    maps = "&".join(f"{s}={digits_run.id}:{m}" for s, m in zip("abc", digits_run.methods, strict=False))
    page.goto(f"{server.url}/compare?{maps}&unit=neuron")
    expect(page.locator(".compare-maps .hm")).to_have_count(3, timeout=30_000)
    shown = page.locator("#rho-matrix button:visible")
    for _ in looks():
        assert_cards(page, 3)
        expect(shown).to_have_count(3)  # each pair once
        assert_accessible(page)


def test_tables_are_tables_on_a_wide_screen(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    row = page.locator("#top-units tbody tr").first
    assert row.evaluate("(row) => getComputedStyle(row).display") == "table-row"
    assert row.locator("td").first.evaluate("(cell) => getComputedStyle(cell, '::before').content") == "none"
