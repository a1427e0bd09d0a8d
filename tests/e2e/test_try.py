"""A prompt by hand in a browser: from the tray to both answers, single tokens, the map of the answer, its run."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run, Status
from modelshapley.contracts.prompts import PromptRequest
from modelshapley.units import UnitKind
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Looks, WatchedPage
from tests.e2e.map.test_dashboard import assert_accessible
from tests.prompts.test_answers import picture

WRITING_MS = 120_000  # 64 tokens of the real model, or its map, on a slow machine whose cores are busy
OFF = "&unit=head&off=layer:12;head:0.4,3.4,6.4"
# Holds a map that comes from the server until `releaseMap`; `mapArrived` resolves when it is there.
HOLD_MAP = """() => {
  const real = window.fetch;
  const released = new Promise((resolve) => (window.releaseMap = resolve));
  window.mapArrived = new Promise((arrived) => {
    window.fetch = async (url, init) => {
      const response = await real(url, init);
      if (!String(init?.body).includes('try-map-tick.n_intervals') || response.status === 204) return response;
      arrived();
      await released;
      return response;
    };
  });
}"""


def answer(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Answer").click()


def finished(page: Page) -> None:
    expect(page.locator("#try-state")).to_contain_text("the intact answer", timeout=WRITING_MS)
    expect(page.locator("#try-strip button").first).to_be_visible()


def test_the_whole_walk(page: Page, server: Server, api: Client, capitals_run: Run) -> None:
    page.goto(f"{server.url}/runs/{capitals_run.id}?method=two-sided{OFF}")
    expect(page.locator("#try-link")).to_have_attribute(
        "href", re.compile(r"/try\?run=\w+&.*off=head:0.4,3.4,6.4;layer:12")
    )
    page.locator("#try-link").click()
    expect(page.get_by_role("heading", name="Try a prompt")).to_be_visible()
    expect(page.locator("#try-about")).to_contain_text("3 heads, 1 layer off")
    answer(page, "What is the capital of France?")
    finished(page)

    request = PromptRequest(
        run=capitals_run.id,
        prompt="What is the capital of France?",
        off={"head": [(0, 4), (3, 4), (6, 4)], "layer": [12]},
    )
    prompt = api.answer(request)
    assert prompt.changed is not None
    for column, written in (("intact", prompt.intact), ("changed", prompt.changed)):
        shown = page.locator(f"#try-{column}").inner_text()
        assert shown.removesuffix("end").strip() == written.text.strip()
    comparison = api.prompt_comparison(prompt.id)
    expect(page.locator("#try-strip button")).to_have_count(len(comparison.positions))

    last = comparison.positions[-1]
    page.locator("#try-strip button").last.click()
    expect(page.locator("#try-position")).to_contain_text(f"KL divergence {last.kl:.3f} nats")
    moved = max(last.next, key=lambda token: abs(token.changed - token.intact))
    table = page.locator("#try-details table").last
    expect(table.locator("tbody tr").first.locator("th")).to_have_text(re.compile(re.escape(moved.text.strip()) or "."))
    page.get_by_text("Loss increase").click()
    expect(page.locator("#try-legend")).to_contain_text("loses more likelihood")

    page.get_by_role("button", name="Map of this answer").click()
    expect(page.locator("#try-map-body .js-plotly-plot")).to_be_visible(timeout=WRITING_MS)
    expect(page.locator("#try-map-body")).to_contain_text("Matter here, not on the task")
    page.get_by_role("button", name="Keep as a run").click()
    link = page.locator("#try-kept a")
    expect(link).to_be_visible()
    run = api.wait(link.inner_text().removeprefix("run "))
    assert run.status is Status.DONE, run.error
    assert set(run.units) == {UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER}
    link.click()
    expect(page.locator("#accuracy")).to_have_text("100.0 %")


def test_a_prompt_can_be_cancelled_and_a_new_one_replaces_an_old_one(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/try?model=demo:smollm2-135m")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Tokens, at most").fill("400")
    page.get_by_label("Temperature").fill("2")
    answer(page, "Tell me a long story about")
    expect(page.locator("#try-intact")).not_to_be_empty(timeout=WRITING_MS)
    expect(page.locator("#try-changed-card")).to_be_hidden()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#try-state")).to_have_text("Cancelled.", timeout=15_000)
    expect(page.locator("#try-intact")).not_to_be_empty()
    page.get_by_label("Tokens, at most").fill("3")
    answer(page, "The capital of Peru is")
    finished(page)
    expect(page.locator("#try-strip button")).to_have_count(3)


@pytest.mark.slow  # a page counts as closed after 15 seconds
def test_a_closed_page_ends_its_prompt(page: Page, server: Server, api: Client) -> None:
    page.goto(f"{server.url}/try?model=demo:smollm2-135m")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Tokens, at most").fill("512")
    page.get_by_label("Temperature").fill("2")
    answer(page, "Tell me a long story about")
    expect(page.locator("#try-intact")).not_to_be_empty(timeout=WRITING_MS)
    prompt = page.locator("#try-followed").get_attribute("title")
    page.get_by_role("link", name="System").click()
    deadline = time.monotonic() + 60
    while not api.prompt(str(prompt)).status.ended and time.monotonic() < deadline:
        time.sleep(0.5)
    state = api.prompt(str(prompt))
    assert (state.status, state.error) == (Status.CANCELLED, "its page was closed")


def test_a_waiting_prompt_says_how_many_are_ahead(page: Page, start_server: StartServer) -> None:
    """Without a worker, so that the queue stands still while it is read."""
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        *_, dropped = [
            api.submit_prompt(PromptRequest(model="demo:smollm2-135m", prompt=f"Long story {number}"))
            for number in range(3)
        ]
        api.cancel_prompt(dropped.id)
        page.goto(f"{server.url}/try?model=demo:smollm2-135m")
        answer(page, "The capital of Peru is")
        expect(page.locator("#try-state")).to_have_text("Waiting: 2 ahead in the queue …", timeout=15_000)
        prompt = str(page.locator("#try-followed").get_attribute("title"))
        assert api.prompt(prompt).waiting.ahead == 2
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#try-state")).to_have_text("Cancelled.", timeout=15_000)


def test_what_is_missing_is_said_below_the_form(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/try")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#try-problem")).to_have_text("Write a prompt first.")
    page.get_by_label("Prompt").fill("word " * 4001)
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#try-problem")).to_contain_text("Prompt: String should have at most 20000 characters")


def classify(page: Page, server: Server, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "digit.png"
    file.write_bytes(base64.b64decode(picture().partition(",")[2]))
    page.goto(f"{server.url}/try?run={run.id}&method=two-sided&off=layer:1")
    page.get_by_label("Picture").set_input_files(file)
    expect(page.get_by_alt_text("the chosen picture")).to_be_visible()
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("heading", name="Likeliest classes")).to_be_visible(timeout=WRITING_MS)


def test_a_picture_is_classified_with_units_off(page: Page, server: Server, digits_run: Run, tmp_path: Path) -> None:
    classify(page, server, digits_run, tmp_path)
    expect(page.locator("#try-position")).to_contain_text("KL divergence")
    page.get_by_role("button", name="Map of this answer").click()
    expect(page.locator("#try-map-body .js-plotly-plot")).to_be_visible(timeout=WRITING_MS)


def test_the_map_of_an_answer_does_not_come_to_the_next(
    page: Page, server: Server, digits_run: Run, tmp_path: Path
) -> None:
    classify(page, server, digits_run, tmp_path)
    page.evaluate(HOLD_MAP)
    page.get_by_role("button", name="Map of this answer").click()
    page.evaluate("window.mapArrived")
    expect(page.locator("#try-map-body > *")).to_have_count(1)  # a skeleton
    with page.expect_request(re.compile(r"/prompts/\w+/comparison"), timeout=WRITING_MS):
        page.locator("#try-go").click()
    expect(page.get_by_role("heading", name="Likeliest classes")).to_be_visible()
    page.evaluate("window.releaseMap()")
    expect(page.locator("#try-map-body > *")).to_have_count(0)
    page.wait_for_timeout(500)
    expect(page.locator("#try-map-body > *")).to_have_count(0)
    page.get_by_role("button", name="Map of this answer").click()
    expect(page.locator("#try-map-body .js-plotly-plot")).to_be_visible(timeout=WRITING_MS)


def test_a_run_that_is_not_there_is_said(page: WatchedPage, server: Server) -> None:
    page.goto(f"{server.url}/try?run=nowhere")
    expect(page.get_by_role("heading", name="Run not found")).to_be_visible()


def test_accessible_and_nothing_beside_the_page(page: Page, server: Server, capitals_run: Run, looks: Looks) -> None:
    page.goto(f"{server.url}/try?run={capitals_run.id}{OFF}")
    answer(page, "What is the capital of France?")
    finished(page)
    page.get_by_role("button", name="Map of this answer").click()
    expect(page.locator("#try-map-body .js-plotly-plot")).to_be_visible(timeout=WRITING_MS)
    for _ in looks((1440, 390)):
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert_accessible(page)
