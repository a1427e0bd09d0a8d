"""Back, forward and Undo walk through the same selections; the slider acts as it is dragged."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from modelshapley.contracts import Run
from tests.conftest import Server
from tests.e2e.map.test_dashboard import HEADS, click_cell, expect_map, expect_marks, measured, open_map

# The first text of the line that says what happens next, and the time from the press to it.
PRESS = """() => new Promise((done) => {
  const line = document.getElementById('tray-state');
  let pressed = null;
  window.addEventListener('mousedown', () => (pressed = performance.now()), { once: true, capture: true });
  new MutationObserver(() => pressed && line.textContent && done([line.textContent, performance.now() - pressed]))
    .observe(line, { childList: true, subtree: true, characterData: true });
})"""


def test_back_forward_and_undo_agree(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(server.url)
    expect(page.locator(".run-card").first).to_be_visible()
    open_map(page, server, digits_run)
    off = page.locator("#tray-off")
    click_cell(page, HEADS, 0, 1)
    expect(off).to_have_text("1 head")
    click_cell(page, HEADS, 1, 2)
    expect(off).to_have_text("2 heads")
    page.go_back()
    expect(off).to_have_text("1 head")
    expect(page).to_have_url(re.compile(r"off=head:0\.1$"))
    expect_marks(page, 1)
    page.go_forward()
    expect(off).to_have_text("2 heads")
    measured(page)
    page.locator("#undo").click()
    expect(off).to_have_text("1 head")
    page.reload()
    expect_map(page)
    expect(off).to_have_text("1 head")
    page.locator("#undo").click()  # the history outlives the page
    expect(off).to_have_text("Nothing is switched off")
    expect(page.locator("#undo")).to_be_disabled()
    page.go_back()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    page.go_forward()
    expect_map(page)


def test_the_slider_acts_as_it_is_dragged_and_is_one_step_back(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    thumb = page.locator("#share [role=slider]")
    thumb.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#tray-off")).to_have_text("4 heads")  # 25 % of 16
    measured(page)
    page.locator("#undo").click()
    expect(page.locator("#tray-off")).to_have_text("Nothing is switched off")


def test_a_press_says_what_happens_next(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    page.evaluate(f"() => {{ window.answered = ({PRESS})(); }}")
    click_cell(page, HEADS, 2, 2)
    text, elapsed = page.evaluate("window.answered")
    assert text == "Sending to a worker …"
    assert elapsed < 1000  # how quickly indeed: benchmarks.dashboard, press_to_state_ms
    measured(page)
    expect(page.locator("#tray-state")).to_have_text("")
