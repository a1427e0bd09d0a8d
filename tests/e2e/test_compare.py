"""Compare in a real browser: choose two maps, read what differs, and switch off what matters for one only."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from scipy.stats import spearmanr

from modelshapley.client import Client
from modelshapley.contracts import Run, RunLabels, RunRequest
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Looks
from tests.e2e.map.test_dashboard import assert_accessible, measured

OTHER = RunRequest(
    model="demo:digits-vit",
    task="digits",
    methods=["two-sided"],
    units=["head", "neuron"],
    seed=3,
    limit=64,
    per_class=True,
    faithfulness="none",
)


@pytest.fixture(scope="module")
def other_run(api: Client) -> Run:
    """Another seed, fewer examples, and a map of every digit."""
    return api.wait(api.submit_run(OTHER).id)


def drawn(page: Page, maps: int = 3) -> None:
    expect(page.locator(".compare-maps .heatmaplayer .hm")).to_have_count(maps, timeout=30_000)


def test_choose_two_methods_read_what_differs_and_switch_it_off(
    page: Page, server: Server, api: Client, digits_run: Run
) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="Compare").click()
    drawn(page)
    page.goto(f"{server.url}/compare?a={digits_run.id}:two-sided&b={digits_run.id}:random&unit=neuron&top=5")
    drawn(page)
    scores = [
        np.array(api.importance_map(digits_run.id, method, "neuron").scores).reshape(-1)
        for method in ("two-sided", "random", "path-shapley,points=2")
    ]
    expect(page.locator("#rho")).to_have_text(f"ρ {spearmanr(scores[0], scores[1]).statistic:.2f}".replace("-", "−"))
    expect(page.locator("#differences")).to_have_count(0)
    page.get_by_role("textbox", name="Method of map 2").click()
    page.get_by_role("option", name="Path Shapley (points=2)").click()
    expect(page.locator("#rho")).to_have_text(f"ρ {spearmanr(scores[0], scores[2]).statistic:.2f}".replace("-", "−"))
    expect(page).to_have_url(re.compile(r"b=\w+:path-shapley,points%3D2&unit=neuron&top=5$"))
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("top=10$"))
    tops = [set(np.argsort(-s, kind="stable")[:16].tolist()) for s in (scores[0], scores[2])]
    expect(page.locator("#overlap")).to_have_text(f"{len(tops[0] & tops[1])} of 16")
    expect(page.locator("#only-first tbody tr")).to_have_count(len(tops[0] - tops[1]))
    page.reload()
    expect(page.locator("#overlap")).to_have_text(f"{len(tops[0] & tops[1])} of 16")
    count = len(tops[0] - tops[1])
    page.locator("#only-first").get_by_role(
        "link", name=f"Switch these {count} off in digits-vit · digits · Two-sided"
    ).click()
    expect(page.locator("#tray-off")).to_have_text(f"{count} neurons")
    assert measured(page) < 100


def test_what_was_not_made_alike_is_said_and_classes_can_be_chosen(
    page: Page, server: Server, digits_run: Run, other_run: Run
) -> None:
    page.goto(f"{server.url}/compare?a={digits_run.id}:two-sided&b={other_run.id}:two-sided:7&unit=head")
    drawn(page)
    expect(page.locator("#differences")).to_contain_text("Different seeds, 0 and 3")
    expect(page.locator("#differences")).to_contain_text(
        "all classes in digits-vit · digits · Two-sided, class 7 in digits-vit · digits, class 7 · Two-sided"
    )
    expect(page.get_by_role("textbox", name="Class of map 2")).to_have_value(re.compile("^7 "))
    expect(page.get_by_role("textbox", name="Class of map 1")).to_be_hidden()
    page.get_by_role("textbox", name="Class of map 2").click()
    page.get_by_role("option", name="all classes").click()
    expect(page.locator("#differences")).not_to_contain_text("class 7")
    expect(page).to_have_url(re.compile(rf"b={other_run.id}:two-sided&"))
    page.get_by_role("textbox", name="Run of map 2").click()
    page.get_by_role("option", name=digits_run.id).click()
    expect(page.get_by_text("Both are the same map")).to_be_visible()
    expect(page.get_by_role("textbox", name="Class of map 2")).to_be_hidden()


def test_rows_of_the_maps_line_up_whatever_their_captions(
    page: Page, server: Server, api: Client, digits_run: Run, other_run: Run, looks: Looks
) -> None:
    long = "A run with a name that is much too long for one line of a narrow panel on any screen that people have"
    api.label_run(other_run.id, RunLabels(name=long))
    page.goto(f"{server.url}/compare?a={digits_run.id}:random&b={other_run.id}:two-sided&unit=head")
    drawn(page)
    for _, width in looks((1440, 1024)):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        expect(page.locator(".compare-maps h2").nth(1)).to_have_text(long)
        boxes = [page.locator(".compare-maps .js-plotly-plot").nth(n).bounding_box() for n in (0, 1)]
        titles = [page.locator(".compare-maps h2").nth(n).bounding_box() for n in (0, 1)]
        assert titles[0]["y"] == titles[1]["y"]
        assert (boxes[0]["y"], boxes[0]["height"]) == (boxes[1]["y"], boxes[1]["height"])
    api.label_run(other_run.id, RunLabels(name=None))


def test_several_maps_their_correlations_and_a_pair_of_them(
    page: Page, server: Server, api: Client, digits_run: Run, other_run: Run
) -> None:
    """Three maps of one run, and one without scores of layers, which is left out by its name."""
    methods = ("two-sided", "random", "model-shapley")
    maps = [f"{digits_run.id}:{method}" for method in methods] + [f"{other_run.id}:two-sided:7"]
    address = "&".join(f"{slot}={name}" for slot, name in zip("abcd", maps, strict=True))
    page.goto(f"{server.url}/compare?{address}&unit=head")
    matrix = page.locator("#rho-matrix")
    expect(matrix.locator("tbody tr")).to_have_count(4, timeout=30_000)
    scores = [np.array(api.importance_map(digits_run.id, m, "head").scores).reshape(-1) for m in methods]
    for row, column in combinations(range(3), 2):
        rho = f"{spearmanr(scores[row], scores[column]).statistic:.2f}".replace("-", "−")
        expect(matrix.locator("tbody tr").nth(row).locator("td").nth(column)).to_have_text(rho)
        expect(matrix.locator("tbody tr").nth(column).locator("td").nth(row)).to_have_text(rho)
    expect(page.locator(".multiples .hm")).to_have_count(4)
    scales = page.evaluate(
        "[...document.querySelectorAll('.multiples .js-plotly-plot')].map((g) => g._fullLayout.coloraxis)"
        ".map(({ cmin, cmax, colorscale }) => JSON.stringify([cmin, cmax, colorscale]))"
    )
    assert len(set(scales)) == 1
    matrix.get_by_role("button", name="Model Shapley (corrected) and digits-vit · digits · Random").click()
    expect(page.locator("#compare-detail")).to_have_text(
        "digits-vit · digits · Model Shapley (corrected) and digits-vit · digits · Random"
    )
    expect(page.locator("#compare-detail")).to_be_in_viewport()
    expect(page.locator("#rho")).to_have_text(f"ρ {spearmanr(scores[2], scores[1]).statistic:.2f}".replace("-", "−"))
    expect(page).to_have_url(re.compile("&pair=cb&unit=head"))
    page.reload()
    expect(page.locator("#compare-detail")).to_contain_text("Model Shapley (corrected) and")
    page.locator("#compare-unit").get_by_text("Layers").click()
    expect(page.locator("#compare-refused")).to_contain_text(
        "digits-vit · digits, class 7 · Two-sided: it has no scores of layers."
    )
    expect(matrix.locator("tbody tr")).to_have_count(3)


@pytest.mark.slow  # draws eight maps
def test_maps_are_added_up_to_eight_and_removed(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(f"{server.url}/compare?a={digits_run.id}:two-sided&b={digits_run.id}:random&unit=head")
    drawn(page)
    cards = page.locator(".compare-sides > *")
    for count in range(3, 9):
        page.get_by_role("button", name="Add a map").click()
        expect(cards).to_have_count(count)
        expect(page.locator("#compare-body")).not_to_have_class("pending")
    expect(page).to_have_url(re.compile(rf"&c={digits_run.id}:model-shapley&.*&h="))
    page.get_by_role("button", name="Add a map").click()
    expect(page.get_by_text("At most 8 maps can be compared.")).to_be_visible()
    page.get_by_role("button", name="Remove map 2").click()
    expect(cards).to_have_count(7)
    expect(page).to_have_url(re.compile(rf"&b={digits_run.id}:model-shapley&.*&g=[^&]*&unit=head"))
    expect(page.locator("#compare-add-problem")).to_be_empty()


def test_models_of_unequal_shape_and_links_that_lead_nowhere_are_said(
    page: Page, server: Server, digits_run: Run, capitals_run: Run
) -> None:
    page.goto(f"{server.url}/compare?a={digits_run.id}:two-sided&b={capitals_run.id}:two-sided&unit=head")
    expect(
        page.get_by_text("4 x 4 (layers x units) in digits-vit · digits · Two-sided, 30 x 9 in smollm2-135m")
    ).to_be_visible(timeout=30_000)
    expect(page.locator("#differences")).to_contain_text("Different models")
    page.goto(f"{server.url}/compare?a=nope:two-sided&b={digits_run.id}:wheel&top=7")
    expect(page.get_by_text("Run 'nope' of the link does not exist or has no maps.")).to_be_visible()
    expect(page.get_by_text(f"Run {digits_run.id} was not scored by 'wheel'.")).to_be_visible()
    expect(page.get_by_text("Ignored a part of the link that is not valid: 'top=7'")).to_be_visible()
    expect(page.locator("#overlap, .state").first).to_be_visible(timeout=30_000)


def test_nothing_to_compare_yet(page: Page, start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    page.goto(f"{server.url}/compare")
    expect(page.get_by_text("Nothing to compare yet")).to_be_visible()
    page.get_by_role("link", name="Score a model").click()
    expect(page.get_by_text("No runs yet")).to_be_visible()


@pytest.mark.slow  # axe on maps at three sizes
def test_it_is_accessible_and_fits(page: Page, server: Server, digits_run: Run, other_run: Run, looks: Looks) -> None:
    for width, more in (
        (1440, ""),
        (1024, ""),
        (1440, f"&c={digits_run.id}:random"),
        (390, f"&c={digits_run.id}:random"),
    ):
        page.set_viewport_size({"width": width, "height": 700})
        page.goto(f"{server.url}/compare?a={digits_run.id}:two-sided&b={other_run.id}:two-sided:7{more}&unit=neuron")
        drawn(page)
        for _ in looks():
            assert_accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
