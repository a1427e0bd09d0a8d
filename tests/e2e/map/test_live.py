"""The accuracy follows the hand: estimates, undo, several tabs, groups, early stops, lost workers and servers."""

from __future__ import annotations

import os
import re
import signal
import socket
import time

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from modelshapley import load_task
from modelshapley.client import Client
from modelshapley.contracts import Off, Run, Status
from modelshapley.evaluation.trials import all_answers
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Treatment
from tests.conftest import CAPITALS_RUN, DIGITS_RUN, Server, StartServer
from tests.e2e.conftest import Looks, WatchedPage
from tests.e2e.map.test_dashboard import (
    HEADS,
    assert_accessible,
    click_cell,
    drag,
    expect_map,
    expect_marks,
    measured,
    open_map,
)

AWAY = [
    "ERR_CONNECTION_REFUSED",
    "ERR_EMPTY_RESPONSE",
    "ERR_CONNECTION_RESET",
    "Failed to fetch",
    "Callback failed",
]
# Every state of the figures: [examples so far, interval].
WATCH = r"""() => {
  window.seen = [];
  const look = () => {
    const n = document.getElementById('trial-n'), interval = document.getElementById('interval');
    if (!n || !interval) return;
    const [low, high] = interval.textContent.match(/\d+\.\d/g).map(Number);
    const told = [n.textContent, low, high], last = window.seen[window.seen.length - 1];
    if (String(told) !== String(last)) window.seen.push(told);
  };
  new MutationObserver(look).observe(document.getElementById('tray-figures'), {subtree: true, childList: true,
    characterData: true});
}"""

# The answer to the third selection comes over the websocket of a shared worker; `window.arrived` is told of it.
HOLD_ANSWER = """
const Real = window.SharedWorker;
window.SharedWorker = function (...given) {
  const worker = new Real(...given), port = worker.port;
  Object.defineProperty(port, 'onmessage', {set(receive) {
    port.addEventListener('message', (event) => {
      if (!JSON.stringify(event.data).includes('"number":3')) return receive(event);
      window.arrived();
      receive(event);
    });
    port.start();
  }});
  return worker;
};
"""
# Renders the trial once more; the rendering waits for that answer. Resolves as soon as it waits.
HOLD_FIGURES = """() => new Promise((waits) => {
  const together = new Promise((resolve) => (window.arrived = resolve));
  const real = window.fetch;
  window.fetch = async (url, init) => {
    const response = await real(url, init);
    if (String(init?.body).includes('rendered.data..')) {
      waits();
      await together;
    }
    return response;
  };
  window.dash_clientside.set_props('connection', {data: 'lost'});
})"""

PRESS_KEYS = """(keys) => {
  for (const key of keys) document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
}"""


def unfold(page: Page, section: str) -> None:
    page.locator(f"#{section} > summary").click()


def tried(page: Page) -> Locator:
    return page.locator("#past-trials-list tbody tr")


def test_ten_heads_off_an_estimate_the_whole_figure_and_back(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    intact = page.inner_text("#accuracy")
    drag(page, HEADS, (2, 0), (2, 1))  # straight along a row: no other row goes with it
    expect(page.locator("#tray-off")).to_have_text("2 heads")
    measured(page)
    page.evaluate(WATCH)
    drag(page, HEADS, (0, 0), (1, 3))
    expect(page.locator("#tray-off")).to_have_text("10 heads")
    measured(page)
    # A trial as short as this may end before the first part of it is drawn: then the whole figure is the first.
    *partial, last = page.evaluate("window.seen")
    assert all(re.fullmatch(r"\d+ of 360 test examples", words) for words, _, _ in partial), partial
    assert last[0] == "measured on all 360 test examples"
    assert all(last[2] - last[1] <= high - low for _, low, high in partial)
    expect(page.locator("#predicted")).to_contain_text(re.compile("predicted loss increase about .* nats"))
    for words in ("2 heads", "Nothing is switched off"):
        page.locator("#undo").click()
        expect(page.locator("#tray-off")).to_have_text(words)
    expect(page.locator("#accuracy")).to_have_text(intact)
    expect(page.locator("#tray-figures")).to_contain_text("intact model")
    expect_marks(page, 0)


@pytest.mark.own_page
def test_figures_that_come_together_with_the_next_answer_do_not_stay(
    page: Page, server: Server, digits_run: Run
) -> None:
    page.add_init_script(HOLD_ANSWER)
    open_map(page, server, digits_run)
    drag(page, HEADS, (2, 0), (2, 1))
    measured(page)
    page.evaluate(HOLD_FIGURES)
    page.locator("#undo").click()
    expect(page.locator("#tray-off")).to_have_text("Nothing is switched off")
    expect(page.locator("#tray-figures:not(.pending)")).to_contain_text("intact model")


def test_clicks_before_dash_has_taken_the_first_over_are_all_taken(page: Page, server: Server, digits_run: Run) -> None:
    """As on a page that is busy: a browser hands waiting clicks over before any timer."""
    open_map(page, server, digits_run)
    page.locator(".map-frame").focus()
    page.evaluate(PRESS_KEYS, ["ArrowRight", " ", "ArrowDown", " ", "ArrowDown", " ", " "])
    expect(page.locator("#tray-off")).to_have_text("2 heads")
    expect(page).to_have_url(re.compile(r"off=head:0\.0,1\.0$"))
    expect_marks(page, 2)
    page.locator("#undo").click()
    expect(page.locator("#tray-off")).to_have_text("Nothing is switched off")
    expect_marks(page, 0)
    page.locator(".map-frame").focus()
    page.evaluate(PRESS_KEYS, ["ArrowRight", " ", "ArrowDown", " "])
    expect(page.locator("#tray-off")).to_have_text("2 heads")
    expect_marks(page, 2)


def test_what_is_done_to_units_is_measured_undone_and_in_the_address(
    page: Page, server: Server, api: Client, digits_run: Run
) -> None:
    open_map(page, server, digits_run)
    click_cell(page, HEADS, 0, 2)
    unfold(page, "treatment")
    page.locator("#how").get_by_text("Scale", exact=True).click()
    expect(page.locator("#tray-off")).to_have_text("1 head, times 0.5")
    expect(page).to_have_url(re.compile(r"off=head:0\.2&do=scale:0\.5$"))
    expect(page.locator("#apply")).to_have_text(re.compile(r"^Scale 20 %: "))
    measured(page)
    assert api.run_trials(digits_run.id)[0].treatment == Treatment("scale", 0.5)
    page.locator("#factor [role=slider]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tray-off")).to_have_text("1 head, times 0.55")
    page.reload()
    expect_map(page)
    expect(page.locator("#tray-off")).to_have_text("1 head, times 0.55")
    page.locator("#how").get_by_text("Offset").click()
    expect(page.locator("#tray-off")).to_have_text("1 head, plus 2 standard deviations")
    expect(page).to_have_url(re.compile(r"do=offset:2$"))
    page.locator("#how").get_by_text("Off", exact=True).click()
    expect(page.locator("#tray-off")).to_have_text("1 head")
    for words in ("1 head, plus 2 standard deviations", "1 head, times 0.55"):
        page.locator("#undo").click()
        expect(page.locator("#tray-off")).to_have_text(words)
    expect(page.locator("#how input[value=scale]")).to_be_checked()
    page.locator("#reset").click()
    expect(page.locator("#tray-off")).to_have_text("Nothing is switched off")
    expect(page).not_to_have_url(re.compile("do="))


def test_a_link_that_cannot_be_followed_wholly_switches_nothing_off(
    page: Page, server: Server, digits_run: Run
) -> None:
    open_map(page, server, digits_run, "?off=head:0.1&do=scale:7")
    expect(page.get_by_text("not valid: 'do=scale:7'")).to_be_visible()
    expect(page.locator("#tray-off")).to_have_text("Nothing is switched off")


def test_an_early_stop_and_the_rest_of_it(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    page.locator("#precision").click()
    page.get_by_role("option", name="Stop at ±5 pts").click()
    drag(page, HEADS, (3, 0), (3, 1))
    expect(page.locator("#trial-n")).to_have_text(
        re.compile(r"^stopped at ±[0-5]\.\d pts after \d+ of 360 test examples$"), timeout=60_000
    )
    page.get_by_role("button", name="Measure all").click()
    measured(page)
    expect(page.get_by_role("button", name="Measure all")).to_be_hidden()


@pytest.mark.slow
def test_other_tabs_and_people_see_what_was_tried_and_may_take_it(page: Page, server: Server, digits_run: Run) -> None:
    others = [page.context.new_page(), page.context.browser.new_context().new_page()]
    for other in others:
        open_map(other, server, digits_run)
        unfold(other, "past-trials")
    open_map(page, server, digits_run)
    drag(page, HEADS, (1, 1), (3, 1))
    accuracy = f"{measured(page):.1f} %"
    for other in others:
        row = tried(other).first
        expect(row).to_contain_text("head 1.1, head 2.1, head 3.1 off", timeout=10_000)
        expect(row).to_contain_text(accuracy, timeout=10_000)
        row.get_by_role("button").click()
        expect(other.locator("#tray-off")).to_have_text("3 heads")
        measured(other)
        expect(other.locator("#accuracy")).to_have_text(accuracy)
        expect(tried(other).first).to_have_class(re.compile("current"), timeout=10_000)
        other.locator("#undo").click()
        expect(other.locator("#tray-off")).to_have_text("Nothing is switched off")
        expect(other.locator("#predicted-text")).not_to_be_empty()
        other.context.close() if other.context != page.context else other.close()


@pytest.mark.slow
def test_groups_of_one_tab_are_combined_in_another(page: Page, server: Server, digits_run: Run) -> None:
    other = page.context.new_page()
    open_map(page, server, digits_run)
    unfold(page, "groups")
    page.locator("#group-save").click()
    expect(page.locator("#groups-problem")).to_contain_text("Select units first")
    for name, last in (("whole", (1, 3)), ("corner", (0, 1))):
        drag(page, HEADS, (0, 0), last)
        expect(page.locator("#tray-off")).to_have_text(f"{(last[0] + 1) * (last[1] + 1)} heads")
        page.locator("#group-name").fill(name)
        page.locator("#group-save").click()
        expect(page.locator("#groups-list")).to_contain_text(name)
        page.locator("#reset").click()
        expect(page.locator("#tray-off")).to_have_text("Nothing is switched off")
    page.locator("#group-name").fill("whole")
    click_cell(page, HEADS, 3, 3)
    expect(page.locator("#tray-off")).to_have_text("1 head")
    page.locator("#group-save").click()
    expect(page.locator("#groups-problem")).to_contain_text("already has a group 'whole'")
    open_map(other, server, digits_run)
    unfold(other, "groups")
    for letter, name in (("a", "whole"), ("b", "corner")):
        other.locator(f"#group-{letter}").click()
        other.get_by_role("option", name=name).locator("visible=true").click()
    other.locator("#group-operation").get_by_text("only in A").click()
    other.locator("#group-combine").click()
    expect(other.locator("#tray-off")).to_have_text("6 heads")
    expect(other).to_have_url(re.compile(r"off=head:0\.2-3,1\.0-3$"))
    other.get_by_role("button", name="Add corner").click()
    expect(other.locator("#tray-off")).to_have_text("8 heads")
    other.get_by_role("button", name="Remove whole").click()
    expect(other.locator("#tray-off")).to_have_text("Nothing is switched off")
    other.get_by_role("button", name="Delete corner").click()
    expect(other.locator("#groups-list")).not_to_contain_text("corner")
    expect(page.locator("#groups-list")).not_to_contain_text("corner", timeout=10_000)
    other.locator("#group-undo").click()
    expect(other.locator("#groups-list")).to_contain_text("corner")
    other.close()


def test_nothing_unfolded_is_inaccessible(page: Page, server: Server, digits_run: Run, looks: Looks) -> None:
    open_map(page, server, digits_run, "?off=head:0.1,1.1&do=scale:0.5")
    for section in ("groups", "past-trials"):
        unfold(page, section)
    measured(page)
    expect(tried(page).first).to_be_visible()
    for _ in looks():
        assert_accessible(page)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_lost_worker_is_told_and_the_figure_is_right(
    page: Page, start_server: StartServer, smollm2: LoadedModel
) -> None:
    server = start_server()
    off = Off(head=[(0, 0), (0, 1), (0, 2)])
    with Client(server.url) as api:
        run = api.wait(api.submit_run(CAPITALS_RUN.model_copy(update={"limit": 8})).id)
        assert run.status is Status.DONE, run.error
        (worker,) = api.workers()
        open_map(page, server, run, "?unit=head&off=head:0.0-2")
        expect(page.locator("#trial-n")).to_have_text(re.compile(r"^\d+ of \d+ test"), timeout=60_000)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        expect(page.locator("#tray-figures")).to_contain_text("A worker was lost", timeout=60_000)
        accuracy = measured(page)
    truth = np.mean(all_answers(smollm2, load_task(run.task), off.deactivation(), run.seed))
    assert accuracy == pytest.approx(100 * truth, abs=0.051)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_click_while_the_server_is_away_is_measured_once_it_is_back(
    page: WatchedPage, start_server: StartServer
) -> None:
    page.allowed += [*AWAY, "ERR_INCOMPLETE_CHUNKED_ENCODING", "WebSocket", "Callback error"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    first = start_server("--port", port)
    with Client(first.url) as api:
        run = api.wait(api.submit_run(DIGITS_RUN.model_copy(update={"limit": 32, "faithfulness": "none"})).id)
    open_map(page, first, run)
    click_cell(page, HEADS, 0, 0)
    measured(page)
    assert first.stop() == 0
    click_cell(page, HEADS, 1, 0)
    expect(page.locator("#tray-off")).to_have_text("2 heads")
    expect(page.locator("#tray-figures")).to_have_class(re.compile("pending"))
    expect(page.locator("#banner")).to_contain_text("does not respond", timeout=15_000)
    back = time.monotonic()
    start_server("--port", port, data=first.data)
    expect(page.locator("#banner")).to_be_hidden(timeout=30_000)
    expect(page.locator("#tray-figures")).not_to_have_class(re.compile("pending"), timeout=30_000)
    measured(page)
    assert time.monotonic() - back < 45
