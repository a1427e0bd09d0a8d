"""The map's own tools: looks, a closer look, the keyboard, one unit, counts, what changed, the curve, pictures."""

from __future__ import annotations

import re

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Off, Run, TrialRequest
from modelshapley.maps.roles import role
from modelshapley.units import UnitKind
from tests.conftest import DIGITS_RUN, Server
from tests.e2e.conftest import Looks, WatchedPage
from tests.e2e.map.test_dashboard import HEADS, NEURONS, assert_accessible, click_cell, expect_map, measured, open_map
from tests.e2e.test_cards import TABLES

OF_CLASSES = DIGITS_RUN.model_copy(
    update={
        "methods": ["two-sided"],
        "per_class": True,
        "faithfulness": "none",
        "units": ["neuron", "head", "row"],
    }
)


@pytest.fixture(scope="module")
def classes_run(api: Client) -> Run:
    return api.wait(api.submit_run(OF_CLASSES).id)


def unfold(page: Page, section: str) -> None:
    page.locator(f"#{section} > summary").click()


def test_in_a_sorted_layer_the_first_cell_is_its_most_important_unit(
    page: Page, server: Server, api: Client, digits_run: Run
) -> None:
    open_map(page, server, digits_run)
    page.get_by_text("Percentile", exact=True).click()
    page.locator("#sorted").click()
    expect(page).to_have_url(re.compile("look=percentile,sorted"))
    expect(page.locator("#quantity")).to_contain_text("percentile rank")
    page.reload()
    expect_map(page)
    expect(page.locator("#quantity")).to_contain_text("percentile rank")
    scores = np.array(api.importance_map(digits_run.id, "two-sided", "neuron").scores)
    for layer in (1, 3):
        click_cell(page, NEURONS, layer, 0)
        expect(page).to_have_url(re.compile(rf"{layer}\.{int(scores[layer].argmax())}\b"))
    expect(page.locator("#tray-off")).to_have_text("2 neurons")


def test_a_closer_look_shows_and_switches_exact_units(
    page: Page, server: Server, api: Client, capitals_run: Run
) -> None:
    open_map(page, server, capitals_run)
    graph = page.locator("#map > .js-plotly-plot")
    page.locator("#zoom-in").click()
    expect(graph).to_have_attribute("data-window", "neuron:384-1152")
    page.locator("#zoom-in").click()
    expect(graph).to_have_attribute("data-window", "neuron:576-960")
    click_cell(page, NEURONS, 7, 700)
    expect(page).to_have_url(re.compile(r"off=neuron:7\.700$"))
    data = api.importance_map(capitals_run.id, "two-sided", "neuron")
    expect(page.locator("#unit-panel")).to_contain_text("Neuron 7.700")
    score = float(page.locator("#unit-panel dd").first.inner_text().split(" ± ")[0])
    assert score == pytest.approx(data.scores[7][700], rel=0.01)
    page.locator("#zoom-all").click()
    expect(graph).to_have_attribute("data-window", "neuron:0-1536")
    expect(page.locator("#marks")).to_have_attribute("data-cells", "1")


def test_the_keyboard_moves_switches_and_undoes(page: Page, server: Server, api: Client, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    words = page.locator("#cursor-text")
    page.locator("#map-frame").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    scores = np.array(api.importance_map(digits_run.id, "two-sided", "head").scores)
    rank = 1 + int((scores > scores[2, 1]).sum())
    expect(words).to_have_text(re.compile(rf"^head 2\.1, score .*, rank {rank}$"))
    page.keyboard.press("Space")
    expect(page.locator("#tray-off")).to_have_text("1 head")
    expect(words).to_contain_text(", off")
    page.keyboard.press("PageDown")
    expect(words).to_contain_text("neuron 2.0")
    page.keyboard.press("End")
    expect(words).to_contain_text("neuron 2.39")
    page.keyboard.press("Space")
    expect(page.locator("#tray-off")).to_have_text("1 neuron · 1 head")
    page.keyboard.press("u")
    expect(page.locator("#tray-off")).to_have_text("1 head")
    page.keyboard.press("Enter")
    expect(page.locator("#unit-panel")).to_contain_text("Neuron 2.39")


@pytest.mark.slow
def test_the_map_of_a_class_is_that_of_the_api(page: Page, server: Server, api: Client, classes_run: Run) -> None:
    open_map(page, server, classes_run, "?unit=head&class=7")
    data = api.importance_map(classes_run.id, "two-sided", "head", label="7")
    best = max((score, f"head {r}.{c}") for r, row in enumerate(data.scores) for c, score in enumerate(row))
    first = page.locator("#top-units tbody tr").first
    expect(first).to_contain_text(best[1])
    page.locator("#class").click()
    page.get_by_role("option", name=re.compile("^3 ")).click()
    expect(page).to_have_url(re.compile("class=3"))
    page.goto(f"{server.url}/runs/{classes_run.id}?class=elephants")
    expect(page.get_by_text("no map of the class 'elephants'")).to_be_visible()


def test_one_unit_tells_what_it_does(page: Page, server: Server, api: Client, classes_run: Run) -> None:
    open_map(page, server, classes_run)
    page.locator("#top-search").fill("2.1")
    page.get_by_role("button", name="head 2.1").click()
    panel = page.locator("#unit-panel")
    expect(panel).to_contain_text("Head 2.1")
    expect(panel.locator("tbody tr")).to_have_count(10)
    expect(panel).to_contain_text("not measured")
    signed = api.importance_map(classes_run.id, "two-sided,harm=signed", "head")
    score, error = (float(np.array(values, dtype=float)[2, 1]) for values in (signed.scores, signed.standard_errors))
    net = role(score, error, signed.provenance["n"])
    expect(panel.locator(".unit-facts")).to_contain_text(f"{net} (")
    page.locator("#measure-alone").click()
    trial = api.measure(TrialRequest(run=classes_run.id, off=Off(head=[(2, 1)])))
    expect(panel).to_contain_text(f"{abs(100 * trial.difference):.1f} pts", timeout=15_000)
    expect(panel).to_contain_text("n 360")
    page.locator("#find-examples").click()
    told = api.unit_examples(classes_run.id, UnitKind.HEAD, (2, 1))
    expect(page.locator("#unit-examples .flip")).to_have_count(len(told.examples), timeout=15_000)
    expect(page.locator("#unit-examples .patches > div > div")).to_have_count(16 * len(told.examples))
    expect(page.locator("#unit-examples .flip").first).to_contain_text(
        "helps" if told.examples[0].help > 0 else "hurts"
    )
    page.set_viewport_size({"width": 390, "height": 844})
    assert all(table["stacked"] and table["named"] for table in page.evaluate(TABLES))
    assert "cards" in (panel.locator("table").first.get_attribute("class") or "").split()


def test_counts_follow_the_threshold(page: Page, server: Server, api: Client, digits_run: Run) -> None:
    open_map(page, server, digits_run, "?unit=neuron")
    unfold(page, "counts")
    expect(page.locator("#counts-text")).to_contain_text("16 of 160 neurons (10.0 %)")
    scores = np.array(api.importance_map(digits_run.id, "two-sided", "neuron").scores)
    page.locator("#threshold").fill("0.01")
    expect(page.locator("#counts-text")).to_contain_text(f"{int((scores >= 0.01).sum())} of 160 neurons")
    page.locator("#threshold").fill("")
    expect(page.locator("#counts-text")).to_contain_text("Enter a number")


def test_what_changed_are_the_trials_own_classes_and_flips(
    page: Page, server: Server, api: Client, digits_run: Run
) -> None:
    open_map(page, server, digits_run)
    unfold(page, "trial-details")
    expect(page.locator("#trial-details-text")).to_contain_text("Nothing is switched off")
    for row in (0, 1):
        click_cell(page, HEADS, row, 0)
    measured(page)
    told = api.details(api.measure(TrialRequest(run=digits_run.id, off=Off(head=[(0, 0), (1, 0)]))).id)
    counts = page.locator("#flip-counts")
    expect(counts).to_contain_text(f"{told.lost} answers lost", timeout=15_000)
    expect(counts).to_contain_text(f"{told.gained} gained")
    expect(page.locator("#trial-details .flip")).to_have_count(len(told.flips))
    expect(page.locator("#trial-details tbody tr").first).to_contain_text(told.classes[0].label)
    page.locator("#reset").click()
    expect(page.locator("#trial-details-text")).to_contain_text("Nothing is switched off")


@pytest.mark.slow
def test_the_curve_fills_in_as_the_slider_moves(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run, "?unit=neuron")
    thumb = page.locator("#share [role=slider]")
    thumb.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tray-off")).to_have_text("34 neurons")
    expect(page.locator("#curve-text")).to_contain_text("your trials (1)", timeout=15_000)
    thumb.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#tray-off")).to_have_text("66 neurons")
    measured(page)
    expect(page.locator("#curve-text")).to_contain_text(re.compile(r"your trials \([2-9]|your trials \(\d\d"))
    page.reload()
    expect(page.locator("#curve-text")).to_contain_text(re.compile(r"your trials \([2-9]|your trials \(\d\d"))
    page.locator("#which").get_by_text("most").click()
    expect(page).to_have_url(re.compile("off=most:0.41:neuron:two-sided"))


@pytest.mark.slow  # axe on the whole page
def test_everything_unfolded_is_accessible(page: Page, server: Server, classes_run: Run, looks: Looks) -> None:
    open_map(page, server, classes_run, "?off=head:0.0,0.1")
    measured(page)
    for section in ("trial-details", "counts", "past-trials"):
        unfold(page, section)
    page.locator("#top-units button[data-unit]").first.click()
    page.locator("#find-examples").click()
    expect(page.locator("#unit-examples .flip").first).to_be_visible(timeout=15_000)
    expect(page.locator("#flip-counts")).to_be_visible(timeout=15_000)
    expect(page.locator("#counts-text")).to_contain_text("score at least")
    for _ in looks():
        assert_accessible(page)


@pytest.mark.slow
def test_quick_clicks_are_of_the_cells_that_they_are_on(page: Page, server: Server, digits_run: Run) -> None:
    open_map(page, server, digits_run)
    for row in range(4):
        for column in range(3):
            click_cell(page, HEADS, row, column)
            page.wait_for_timeout(40)
    expect(page.locator("#tray-off")).to_have_text("12 heads")
    expect(page).to_have_url(re.compile(r"off=head:0\.0-2,1\.0-2,2\.0-2,3\.0-2$"))


def test_figures_are_kept_by_the_browser_and_refused_in_words(server: Server, digits_run: Run) -> None:
    address = f"{server.url}/runs/{digits_run.id}/figure"
    with httpx.Client() as browser:
        first = browser.get(address, params={"method": "two-sided", "look": "percentile"})
        assert first.json()["of"] == {"method": "two-sided", "look": "percentile", "class": ""}
        known = {"If-None-Match": first.headers["ETag"]}
        assert browser.get(address, params={"look": "percentile"}, headers=known).status_code == 304
        assert browser.get(address, params={"look": "share"}, headers=known).status_code == 200
        part = browser.get(address, params={"window": "neuron:3-9"}).json()
        assert (part["kind"], part["edges"]) == ("neuron", list(range(3, 10)))
        wrong = browser.get(address, params={"window": "row:3-9"})
        assert (wrong.status_code, "'row:3-9' is not a part" in wrong.json()["detail"]) == (422, True)
        nothing = f"{server.url}/runs/nothing/figure"
        assert browser.get(nothing).status_code == 404
        assert browser.get(nothing, params={"early": 1}).status_code == 204


def test_a_map_that_does_not_come_is_said_and_asked_for_again(
    page: WatchedPage, server: Server, digits_run: Run
) -> None:
    page.allowed += ["status of 503"]
    page.route("**/figure?*", lambda route: route.fulfill(status=503, json={"detail": "The queue is away."}))
    page.goto(f"{server.url}/runs/{digits_run.id}")
    expect(page.locator("#map-problem")).to_contain_text("The map could not be drawn. The queue is away.")
    page.unroute("**/figure?*")
    page.get_by_role("button", name="Try again").click()
    expect_map(page)
    expect(page.locator("#map-problem")).to_be_empty()


def test_plotly_loads_with_the_map_and_again_after_a_failure(
    page: WatchedPage, server: Server, digits_run: Run
) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="Score a model").wait_for()
    script = "document.querySelector('script[src*=plotly-cartesian]') !== null"
    assert page.evaluate(script) is False, "the front page draws nothing"
    page.allowed += ["net::ERR_FAILED"]
    page.route("**/plotly-cartesian*", lambda route: route.abort(), times=2)
    page.goto(f"{server.url}/runs/{digits_run.id}")
    expect_map(page)
    expect(page.locator("#map-problem")).to_be_empty()
