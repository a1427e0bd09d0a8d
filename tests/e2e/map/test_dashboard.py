"""The main job in a real browser: submit, wait for the map, switch units off, read the accuracy."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Off, Run, TrialRequest
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Looks, WatchedPage

CELL = """([panel, row, column]) => {
  const graph = document.querySelector('#map .js-plotly-plot'), layout = graph._fullLayout;
  graph.scrollIntoView({ block: 'center' });  // clear of the bar that stays
  const n = panel ? String(panel + 1) : '', x = layout['xaxis' + n], y = layout['yaxis' + n];
  const box = graph.getBoundingClientRect();
  return [box.left + x._offset + x.l2p(column), box.top + y._offset + y.l2p(row)];
}"""
LAYERS, HEADS, NEURONS = 0, 1, 2


def open_map(page: Page, server: Server, run: Run, query: str = "") -> None:
    page.goto(f"{server.url}/runs/{run.id}{query}")
    expect_map(page)


def expect_map(page: Page, timeout: float = 30_000) -> None:
    """The map is drawn, and the table below it."""
    page.wait_for_selector(
        "#map .heatmaplayer image, #map .heatmaplayer path, #map .heatmaplayer .hm",
        state="attached",
        timeout=timeout,
    )
    expect(page.locator("#top-units tbody tr").first).to_be_attached()


def click_cell(page: Page, panel: int, row: int, column: int) -> None:
    page.mouse.click(*page.evaluate(CELL, [panel, row, column]))


def drag(page: Page, panel: int, first: tuple[float, float], last: tuple[float, float]) -> None:
    start, end = page.evaluate(CELL, [panel, *first]), page.evaluate(CELL, [panel, *last])
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=4)
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def measured(page: Page) -> float:
    """The accuracy in the tray once it is measured on all examples, in percent."""
    page.wait_for_selector("#tray-figures:not(.pending) > #trial-n:has-text('measured on all')", timeout=60_000)
    return float(page.inner_text("#accuracy").removesuffix(" %"))


def expect_marks(page: Page, cells: int) -> None:
    """So many cells are drawn as switched off (the canvas says how many it has drawn)."""
    expect(page.locator("#marks")).to_have_attribute("data-cells", str(cells))


def test_submit_wait_click_a_head_and_read_the_accuracy(page: Page, start_server: StartServer) -> None:
    server = start_server()
    page.goto(server.url)
    expect(page.get_by_text("No runs yet")).to_be_visible()
    page.get_by_role("link", name="Score a model").click()
    page.get_by_role("button", name="Score", exact=True).click()
    expect_map(page, timeout=60_000)
    expect(page.locator("#accuracy")).to_have_text(re.compile(r"^9\d\.\d %$"))
    before = page.inner_text("#accuracy")
    run_id = re.search(r"/runs/(\w+)", page.url)[1]
    for row in range(2):
        click_cell(page, HEADS, row, 0)
    expect(page.locator("#tray-off")).to_have_text("2 heads")
    accuracy = measured(page)
    assert page.inner_text("#accuracy") != before
    with Client(server.url) as api:
        trial = api.measure(TrialRequest(run=run_id, off=Off(head=[(0, 0), (1, 0)])))
    assert f"{100 * trial.accuracy:.1f}" == f"{accuracy:.1f}"
    page.goto(server.url)
    expect(page.locator(".run-card")).to_have_count(1)
    expect(page.locator(".run-picture img")).to_be_visible()


def test_every_way_of_switching_off_and_back(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    expect(page.locator("#accuracy")).to_have_text(f"{100 * digits_run.intact.accuracy:.1f} %")
    click_cell(page, HEADS, 0, 1)
    expect(page.locator("#tray-off")).to_have_text("1 head")
    expect(page).to_have_url(re.compile(r"off=head:0\.1$"))
    expect_marks(page, 1)
    drag(page, NEURONS, (1, 5), (3, 12))
    expect(page.locator("#tray-off")).to_have_text("24 neurons · 1 head")
    expect(page).to_have_url(re.compile(r"off=neuron:1\.5-12,2\.5-12,3\.5-12;head:0\.1$"))
    expect_marks(page, 25)
    click_cell(page, LAYERS, 2, 0)
    expect(page.locator("#tray-off")).to_have_text("24 neurons · 1 head · 1 layer")
    click_cell(page, NEURONS, 2, 7)
    expect(page.locator("#tray-off")).to_have_text("23 neurons · 1 head · 1 layer")
    for words in ("24 neurons · 1 head · 1 layer", "24 neurons · 1 head", "1 head", "Nothing is switched off"):
        page.locator("#undo").click()
        expect(page.locator("#tray-off")).to_have_text(words)
    expect(page.locator("#undo")).to_be_disabled()
    expect(page.locator("#accuracy")).to_have_text(f"{100 * digits_run.intact.accuracy:.1f} %")
    expect_marks(page, 0)
    page.get_by_label("Switch head 0.0 off").check()
    expect(page.locator("#tray-off")).to_have_text("1 head")
    page.locator("#reset").click()
    expect(page.get_by_label("Switch head 0.0 off")).not_to_be_checked()


def test_the_tray_agrees_with_the_api_and_with_the_link(
    page: Page, server: Server, api: Client, digits_run: Run
) -> None:
    open_map(page, server, digits_run, "?method=two-sided&unit=neuron&off=most:0.25:neuron:two-sided")
    expect(page.locator("#tray-off")).to_have_text("40 neurons")
    accuracy = measured(page)
    request = TrialRequest(run=digits_run.id, method="two-sided", unit="neuron", which="most", fraction=0.25)
    trial = api.measure(request)
    assert accuracy == pytest.approx(100 * trial.accuracy, abs=0.051)
    low, high = (100 * end for end in trial.interval)
    expect(page.locator("#tray-figures")).to_contain_text(f"{low:.1f} to {high:.1f} %")
    change = f"{abs(100 * trial.difference):.1f} pts"
    expect(page.locator("#difference")).to_have_text(f"\u2212{change}")


def test_the_ranking_control_switches_off_the_share_it_says(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run, "?unit=neuron")
    expect(page.locator("#apply")).to_have_text("Switch off 20 %: 32 neurons")
    page.locator("#which").get_by_text("most").click()
    page.locator("#apply").click()
    expect(page.locator("#tray-off")).to_have_text("32 neurons")
    expect(page).to_have_url(re.compile(r"off=most:0\.2:neuron:two-sided$"))
    most = measured(page)
    page.locator("#which").get_by_text("least").click()
    page.locator("#apply").click()
    expect(page).to_have_url(re.compile(r"off=least:0\.2:neuron:two-sided$"))
    page.wait_for_timeout(400)
    assert measured(page) > most


def test_a_method_switch_changes_map_table_and_address(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    first = page.inner_text("#top-units")
    page.locator("#method").click()
    page.get_by_role("option", name="Model Shapley (corrected)").click()
    expect(page).to_have_url(re.compile("method=model-shapley&"))
    expect(page.locator("#quantity")).to_contain_text("negative: better")
    expect(page.locator("#top-units")).not_to_have_text(first)
    page.get_by_text("How is this computed?").click()
    expect(page.get_by_text("eq. 3 and Remark 4.3")).to_be_visible()


def test_the_harm_slider_reads_the_same_map_anew(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    first = page.inner_text("#top-units")
    page.locator("#harm [role=slider]").focus()
    page.keyboard.press("End")
    expect(page).to_have_url(re.compile(r"method=two-sided%2Charm%3Dsigned"))
    expect(page.locator("#quantity")).to_contain_text("negative: better")
    expect(page.locator("#top-units")).not_to_have_text(first)
    page.reload()
    expect(page.locator("#quantity")).to_contain_text("negative: better")
    page.keyboard.press("Tab")
    page.locator("#harm [role=slider]").focus()
    page.keyboard.press("Home")
    expect(page).to_have_url(re.compile(r"method=two-sided%2Charm%3D0&"))
    page.locator("#method").click()
    page.get_by_role("option", name="Random").click()
    expect(page.locator("#harm-control")).to_be_hidden()
    page.locator("#method").click()
    page.get_by_role("option", name="Path Shapley (points=2)").click()
    expect(page.locator("#harm-control")).to_be_visible()
    expect(page.locator("#quantity")).to_contain_text("negative: better")


def test_hovering_tells_unit_score_error_and_rank(page: Page, server: Server, api: Client, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    data = api.importance_map(digits_run.id, "two-sided", "head")
    scores = np.array(data.scores, float)
    rank = 1 + int((scores > scores[2, 1]).sum())
    page.mouse.move(*page.evaluate(CELL, [HEADS, 2, 1]))
    label = page.locator("#map .hoverlayer .hovertext")
    expect(label).to_contain_text("head 2.1")
    expect(label).to_contain_text(f"rank {rank} of 16")
    expect(label).to_contain_text("±")


def test_the_form_is_checked_as_it_is_filled_in(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(f"{server.url}/new")
    button = page.get_by_role("button", name="Score", exact=True)
    expect(button).to_be_enabled()
    page.locator("#form-more summary").click()
    page.locator("#form-limit").fill("0")
    expect(page.get_by_text("Enter a whole number, at least 1.")).to_be_visible()
    expect(button).to_be_disabled()
    page.locator("#form-limit").fill("16")
    expect(button).to_be_enabled()
    page.locator("#form-task").click()
    page.get_by_role("option", name="World capitals").click()
    expect(
        page.get_by_text(
            "This task needs a causal language model. Digits ViT (4 layers) is a model that classifies images."
        )
    ).to_be_visible()
    expect(button).to_be_disabled()
    page.locator("#form-model").click()
    page.get_by_role("option", name=re.compile("SmolLM2")).click()
    expect(button).to_be_enabled()


def test_what_is_not_there_is_said_in_words(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(f"{server.url}/runs/nope")
    expect(page.get_by_text("There is no run 'nope'.")).to_be_visible()
    page.goto(f"{server.url}/somewhere")
    expect(page.get_by_text("There is no page at /somewhere.")).to_be_visible()
    open_map(page, server, digits_run, "?off=head:9.9")
    expect(page.get_by_text("layers go from 0 to 3")).to_be_visible()
    expect(page.locator("#tray-off")).to_have_text("Nothing is switched off")


def test_the_api_reference_loads_nothing_from_elsewhere(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="API").click()
    expect(page.get_by_text("/v1/trials/{trial_id}/events")).to_be_visible(timeout=30_000)


def test_no_worker_and_no_server_are_said_and_pass(page: WatchedPage, start_server: StartServer) -> None:
    page.allowed += [
        "ERR_CONNECTION_REFUSED",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
        "Failed to fetch",
        "Callback failed",
    ]
    server = start_server("--workers", "0")
    page.goto(server.url)
    expect(page.locator("#banner")).to_contain_text("No worker is running", timeout=15_000)
    server.stop()
    expect(page.locator("#banner")).to_contain_text("does not respond", timeout=15_000)


def test_no_accessibility_violations(page: Page, server: Server, digits_run: Run, looks: Looks) -> None:
    page.goto(server.url)
    expect(page.locator(".run-card").first).to_be_visible()
    for _ in looks():
        assert_accessible(page)
    open_map(page, server, digits_run, "?off=head:0.1")
    measured(page)
    for _ in looks():
        assert_accessible(page)


def assert_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_nothing_is_wider_than_the_window(page: Page, server: Server, digits_run: Run, looks: Looks) -> None:
    page.set_viewport_size({"width": 1440, "height": 700})
    for path in ("/", f"/runs/{digits_run.id}"):
        page.goto(server.url + path)
        page.wait_for_timeout(1500)
        for _, width in looks((1440, 1024), ("light",)):
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            if path != "/":
                expect(page.locator("#accuracy")).to_be_in_viewport()


@pytest.mark.slow
def test_pictures_for_the_readme(
    page: Page, server: Server, digits_run: Run, capitals_run: Run, tmp_path: Path
) -> None:
    """Into the folder that PICTURES names; `make pictures` renews those of the README."""
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    page.goto(server.url)
    expect(page.locator(".run-picture img").first).to_be_visible()
    assert taken(page, pictures / "runs.png") > 20_000
    open_map(page, server, capitals_run, "?method=two-sided&unit=head&off=least:0.4:head:two-sided")
    measured(page)
    page.wait_for_timeout(500)
    assert taken(page, pictures / "map.png") > 50_000


def taken(page: Page, file: Path) -> int:
    page.mouse.move(5, 5)
    started = time.time()
    page.screenshot(path=file)
    assert file.stat().st_mtime >= started - 1
    return file.stat().st_size
