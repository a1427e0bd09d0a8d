"""The page Apply in a real browser: from a map to a smaller model, and on to that model's own map."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Off, Run, Status
from modelshapley.contracts.applications.derived import DerivedRequest
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.contracts.applications.requests import FinetuneRequest, ProbeRequest
from modelshapley.units import UnitKind
from tests.conftest import DIGITS_RUN, Server
from tests.e2e.conftest import Looks, WatchedPage
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
    time_wanted = page.get_by_label("Or: longest time of a pass, in ms")
    expect(time_wanted).to_be_enabled()
    page.locator("#apply-kind").get_by_text("Layers").click()
    expect(time_wanted).to_be_disabled()  # a mixture alone goes by time
    expect(page.locator("#apply-bytes")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#apply-prediction")).to_contain_text(
        re.compile(r"accuracy \d+\.\d % .*n 360$"), timeout=SLOW_MS
    )
    predicted = page.inner_text("#apply-prediction")
    page.locator("#apply-name").fill("three-layers")
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


@pytest.mark.slow  # a worker trains and saves a model
def test_from_the_map_to_a_fine_tuned_model_to_its_listing(page: Page, server: Server, api: Client, run: Run) -> None:
    open_map(page, server, run)
    page.get_by_role("link", name="Use this map").click()
    page.get_by_role("tab", name="Fine-tune").click()
    page.get_by_label("Steps").fill("12")
    page.locator("#finetune-start").click()
    expect(page.locator("#finetune-problem")).to_contain_text("Give the model a name")
    page.locator("#finetune-name").fill("turned")
    page.locator("#finetune-start").click()
    card = page.locator("#apply-list .mantine-Card-root").filter(has_text="turned")
    expect(card.get_by_text("fine-tuned, 10 % of the neurons")).to_be_visible()
    expect(card.get_by_text("of the squared gradient lies on them")).to_be_visible(timeout=SLOW_MS)
    expect(card.locator("tbody tr")).to_have_count(2)
    (made,) = [one for one in api.all_derived(run.id) if one.name == "turned"]
    assert made.finetuned is not None
    targeted, random = made.finetuned.arms
    assert targeted.steps == random.steps == 12
    assert f"{targeted.trained:,}" in card.locator("tbody tr").first.inner_text()
    expect(page.locator("#finetune-problem")).to_be_empty()
    page.goto(f"{server.url}/new")
    page.locator("#form-model").click()
    expect(page.get_by_role("option", name="turned")).to_be_visible()
    assert made.model is not None
    own = api.wait(api.submit_run(run.request().model_copy(update={"model": made.model, "faithfulness": "none"})).id)
    open_apply(page, server, run)
    page.get_by_role("link", name="Before and after training").click()
    expect(page.get_by_text("Spearman").first).to_be_visible(timeout=SLOW_MS)
    assert f"{run.id}:two-sided" in page.url
    assert f"{own.id}:two-sided" in page.url


def test_a_probe_and_an_amplification_show_random_units_beside(
    page: Page, server: Server, api: Client, run: Run
) -> None:
    open_apply(page, server, run)
    for tab, button, said in (
        ("Probe", "Probe", "10 classes, read by a ridge classifier"),
        ("Amplify", "Amplify", "each draw of as many random units"),
    ):
        page.get_by_role("tab", name=tab).click()
        page.locator(f"#{tab.lower()}-draws").fill("2")
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.locator("#apply-list").get_by_text(said)).to_be_visible(timeout=SLOW_MS)
    amplified, probed = api.all_derived(run.id)[:2]
    assert probed.probed is not None
    assert f"{100 * probed.probed.chosen.accuracy:.1f} %" in page.locator("#apply-list").inner_text()
    assert amplified.amplified is not None
    assert page.locator("#apply-list .use-strip .draw").count() == 2 + 2 * len(amplified.amplified.points)
    page.get_by_role("tab", name="Quantise").click()
    expect(page.get_by_text("Only language models that write text can be quantised here.")).to_be_visible()
    assert_accessible(page)
    for one in (amplified, probed):
        page.get_by_role("button", name=f"Delete {one.name}").click()
        expect(page.get_by_role("heading", name=one.name)).to_have_count(0)


@pytest.mark.slow
def test_the_best_mix_is_made_with_its_candidates(page: Page, server: Server, api: Client, run: Run) -> None:
    open_apply(page, server, run)
    expect(page.locator("#apply-prediction")).to_contain_text("Compares several methods")
    page.get_by_role("button", name="Make the model").click()
    expect(page.locator("#apply-problem")).to_contain_text("Give the model a name")
    page.locator("#apply-name").fill("mix")
    page.locator("#apply-repair").click()
    page.get_by_role("option", name="Fold the units' means into biases").click()
    page.get_by_role("button", name="Make the model").click()
    card = page.locator("#apply-list .mantine-Card-root").filter(has_text="mix")
    expect(card.get_by_role("button", name="Score this model")).to_be_visible(timeout=SLOW_MS)
    expect(card.get_by_text("Fold the units' means into biases:")).to_be_visible()
    card.get_by_text("Candidates", exact=True).click()
    expect(card.locator("tbody tr").first).to_be_visible()
    card.get_by_role("button", name="Delete mix").click()
    expect(page.get_by_role("heading", name="mix")).to_have_count(0)
    assert not (server.data / "derived" / "mix").exists()


def test_a_size_that_cannot_be_reached_is_said(page: WatchedPage, server: Server, run: Run) -> None:
    open_apply(page, server, run)
    page.locator("#apply-kind").get_by_text("Neurons").click()
    expect(page.locator("#apply-prediction")).to_contain_text("cannot be removed as neurons alone", timeout=SLOW_MS)


def test_each_form_is_accessible_and_fits(page: Page, server: Server, run: Run, looks: Looks) -> None:
    page.set_viewport_size({"width": 1440, "height": 700})
    open_apply(page, server, run)
    page.locator("#apply-kind").get_by_text("Heads").click()
    expect(page.locator("#apply-bytes")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#apply-prediction")).to_contain_text("n 360", timeout=SLOW_MS)
    for _, width in looks((1440, 1024, 390)):
        for tab in ("Make smaller", "Fine-tune", "Quantise", "Probe", "Amplify"):
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tabpanel", name=tab)).to_be_visible()
            assert_accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, tab


@pytest.mark.slow
def test_pictures_of_apply(page: Page, server: Server, api: Client, run: Run, tmp_path: Path) -> None:
    """Of docs/apply.md, into the folder that PICTURES names."""
    smaller = DerivedRequest(run=run.id, name="digits-three-layers", off=Off(layer=[1]), method="two-sided")
    made = api.wait_derived(api.derive(smaller).id)
    page.set_viewport_size({"width": 1440, "height": 860})
    open_apply(page, server, run)
    page.locator("#apply-kind").get_by_text("Heads").click()
    expect(page.locator("#apply-prediction")).to_contain_text("n 360", timeout=SLOW_MS)
    expect(page.get_by_role("heading", name="digits-three-layers")).to_be_visible()
    assert taken(page, Path(os.environ.get("PICTURES", tmp_path)) / "apply.png") > 20_000
    most = {UnitKind.NEURON: 0.1}
    probe = api.wait_derived(api.derive(ProbeRequest(run=run.id, most=most)).id)
    settings = FinetuneSettings(steps=64)
    request = FinetuneRequest(run=run.id, name="digits-tuned", most=most, settings=settings)
    tuned = api.wait_derived(api.derive(request).id)
    open_apply(page, server, run)
    page.get_by_role("tab", name="Fine-tune").click()
    card = page.locator("#apply-list .mantine-Card-root").filter(has_text="digits-tuned")
    expect(card.get_by_text("of the squared gradient lies on them")).to_be_visible()
    assert taken(page, Path(os.environ.get("PICTURES", tmp_path)) / "apply-fine-tune.png") > 20_000
    for one in (made, probe, tuned):
        api.drop_derived(one.id)
