"""Runs, Score a model and System in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from modelshapley.client import Client
from modelshapley.contracts import Run, RunRequest
from modelshapley.models.catalog import ASSETS
from modelshapley.server.redis_server import RedisServer
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Looks, WatchedPage
from tests.e2e.map.test_dashboard import assert_accessible, expect_map
from tests.support.fake_hub import COMMIT, fake_hub

QUICK = RunRequest(model="demo:digits-vit", task="digits", methods=["mean-abs"], limit=8, faithfulness="none")

NO_DATA = """kind: image-classification
name: nowhere
source: {path: not-there}
probe: {split: train, share: 0.5}
test: {split: train, share: 0.5}
"""


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    return start_server()


@pytest.fixture(scope="module")
def api(house: Server) -> Iterator[Client]:
    with Client(house.url) as client:
        yield client


@pytest.fixture(scope="module")
def scored(api: Client) -> dict[str, Run]:
    """Two runs that are done, and a cancelled one."""
    done = {
        method: api.wait(api.submit_run(QUICK.model_copy(update={"methods": [method]})).id)
        for method in ("mean-abs", "fisher-diagonal")
    }
    slow = QUICK.model_copy(update={"methods": ["coalition-shapley,passes=8"], "limit": 288})
    return done | {"cancelled": api.cancel_run(api.submit_run(slow).id)}


def card(page: Page, run: Run) -> Locator:
    return page.locator(f"#run-{run.id}")


def test_runs_are_searched_and_the_address_says_how(page: Page, house: Server, scored: dict[str, Run]) -> None:
    page.goto(house.url)
    expect(page.locator(".run-card")).to_have_count(3)
    expect(page.locator("#runs-count")).to_have_text("3 runs")
    page.get_by_label("Search runs").fill("Fisher")
    expect(page.locator(".run-card")).to_have_count(1)
    expect(card(page, scored["fisher-diagonal"])).to_contain_text("96.4 to 99.2 %, n 360")
    expect(page).to_have_url(f"{house.url}/?search=Fisher")
    assert page.evaluate("document.activeElement.id") == "runs-search"
    page.locator("#runs-status").get_by_text("Cancelled").click()
    expect(page.get_by_text("No cancelled run matches “Fisher”.")).to_be_visible()
    expect(page).to_have_url(f"{house.url}/?search=Fisher&status=cancelled")
    page.reload()
    expect(page.get_by_label("Search runs")).to_have_value("Fisher")
    expect(page.get_by_text("No cancelled run matches")).to_be_visible()
    page.get_by_role("link", name="Show all runs").click()
    expect(page.locator(".run-card")).to_have_count(3)
    expect(page.get_by_label("Search runs")).to_have_value("")
    page.get_by_label("Search runs").fill("nothing like it")
    expect(page.get_by_text("No run matches “nothing like it”")).to_be_visible()
    page.locator("#nav-runs").click()
    expect(page.locator(".run-card")).to_have_count(3)


def test_delete_and_undo(page: Page, house: Server, api: Client, scored: dict[str, Run]) -> None:
    run = scored["mean-abs"]
    page.goto(house.url)
    card(page, run).get_by_role("button", name="Delete").click()
    expect(card(page, run)).to_have_count(0)
    expect(page.locator("#runs-notice")).to_contain_text("Deleted digits-vit on digits.")
    assert run.id not in [found.id for found in api.runs().items]
    page.keyboard.press("Enter")  # the way back has the focus
    expect(card(page, run).locator("img")).to_be_visible()
    card(page, run).get_by_role("button", name="Delete").click()
    expect(card(page, run)).to_have_count(0)
    page.locator("#runs-status").get_by_text("Deleted").click()
    expect(card(page, run)).to_contain_text("deleted just now")
    card(page, run).get_by_role("link", name="digits-vit on digits").click()
    expect(page.get_by_role("heading", name="This run was deleted")).to_be_visible()
    assert_accessible(page)
    page.goto(f"{house.url}/compare?a={run.id}:mean-abs&b={run.id}:mean-abs")
    expect(page.get_by_role("alert")).to_contain_text(f"Run {run.id} (digits-vit on digits) was deleted just now")
    report = httpx.get(f"{house.url}/runs/{run.id}/report")
    assert "This run was deleted" in report.text
    page.goto(f"{house.url}/runs/{run.id}/trust")
    expect(page.get_by_role("heading", name="This run was deleted")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="Can you trust this map?")).to_be_visible()
    page.goto(f"{house.url}/runs/{run.id}")
    expect_map(page)
    assert api.run(run.id) == run
    assert "This run was deleted" not in httpx.get(f"{house.url}/runs/{run.id}/report").text


def test_a_cancelled_run_is_tried_again(page: Page, house: Server, api: Client, scored: dict[str, Run]) -> None:
    before = api.runs().total
    page.goto(house.url)
    card(page, scored["cancelled"]).get_by_role("button", name="Try again").click()
    expect(page.locator("#runs-notice")).to_contain_text("Submitted digits-vit on digits again.")
    again = api.runs().items[0]
    assert api.runs().total == before + 1
    assert again.request() == scored["cancelled"].request()
    words = re.compile(r"\d+ of 288 examples · [\d.]+ per second · .* left · worker ")
    expect(card(page, again)).to_contain_text(words, timeout=30_000)
    card(page, again).get_by_role("button", name="Cancel").click()
    expect(card(page, again)).to_contain_text("cancelled", ignore_case=True)
    api.delete_run(again.id)


def test_without_a_worker_a_run_says_how_to_start_one(page: Page, start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        run = api.submit_run(QUICK)
    page.goto(server.url)
    expect(card(page, run)).to_contain_text("No worker is running. Start one: modelshapley worker")


def test_no_accessibility_violations(page: Page, house: Server, scored: dict[str, Run], looks: Looks) -> None:
    page.set_viewport_size({"width": 1024, "height": 700})
    for path, ready in (
        ("/", ".run-card"),
        ("/?search=nope", ".state"),
        ("/new", ".estimate"),
        ("/system", ".memory"),
    ):
        page.goto(house.url + path)
        expect(page.locator(ready).first).to_be_visible()
        for _ in looks():
            assert_accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 1024, path


def test_the_system_page_shows_the_worker_and_what_failed(
    page: Page, house: Server, api: Client, scored: dict[str, Run]
) -> None:
    (worker,) = api.workers()
    page.goto(f"{house.url}/system")
    expect(page.locator("#system-health")).to_contain_text("1 running")
    expect(page.locator("#system-workers")).to_contain_text(f"process {worker.pid}")
    expect(page.locator("#system-workers")).to_contain_text("digits-vit (")
    slow = api.submit_run(QUICK.model_copy(update={"methods": ["coalition-shapley,passes=64"], "limit": 288}))
    link = page.locator("#system-workers").get_by_role("link", name=f"run {slow.id}")
    expect(link).to_be_visible(timeout=15_000)
    waiting = api.submit_run(QUICK)
    expect(page.locator("#system-health")).to_contain_text("Runs waiting1", timeout=10_000)
    for run in (slow, waiting):
        api.cancel_run(run.id)
    expect(page.locator("#system-failures")).to_have_text("No failures.")
    api.add_task(NO_DATA)
    failed = api.wait(api.submit_run(QUICK.model_copy(update={"task": "nowhere"})).id)
    expect(page.locator("#system-failures")).to_contain_text(failed.error or "?", timeout=10_000)
    page.locator("#system-failures").get_by_role("link").click()
    expect(page).to_have_url(f"{house.url}/runs/{failed.id}")


def test_the_system_page_says_that_no_worker_listens(page: Page, start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    page.goto(f"{server.url}/system")
    expect(page.locator("#system-workers")).to_contain_text("Start one: modelshapley worker")
    expect(page.locator("#system-health")).to_contain_text("none running")
    page.goto(f"{server.url}/new")
    expect(page.locator("#new-estimate")).to_contain_text("No worker is listening, so it will wait.")


@pytest.mark.slow
def test_without_redis_the_pages_say_so_and_recover(
    page: WatchedPage, start_server: StartServer, tmp_path: Path
) -> None:
    page.allowed += ["status of 503"]
    redis = RedisServer.plan(tmp_path)
    process = redis.start()
    try:
        server = start_server("--workers", "0", MODELSHAPLEY_REDIS_URL=redis.url)
        with Client(server.url) as api:
            run = api.submit_run(QUICK)
        page.goto(server.url)
        expect(card(page, run)).to_be_visible()
        process.terminate()
        process.wait(10)
        expect(page.locator("#runs-problem")).to_contain_text("The queue (Redis) does not respond", timeout=15_000)
        expect(card(page, run)).to_be_visible()
        page.locator("#nav-system").click()
        expect(page.locator("#system-health")).to_contain_text("✗not connected", timeout=15_000)
        expect(page.locator("#system-health")).to_contain_text("✓connected")
        assert_accessible(page)
        process = redis.start()
        expect(page.locator("#system-problem")).to_have_text(re.compile("^No worker is running"), timeout=20_000)
    finally:
        process.terminate()
        process.wait(10)


def test_what_a_run_takes_is_told_beside_the_form(page: Page, house: Server, scored: dict[str, Run]) -> None:
    page.goto(f"{house.url}/new")
    told = page.locator("#new-estimate")
    expect(told).to_contain_text("1 backward pass over each of 256 examples.")
    expect(told).to_contain_text(re.compile(r"About .*based on \d+ earlier runs"))
    expect(told).to_contain_text("of weights (float32)")
    page.locator("#form-more summary").click()
    methods = page.locator(".mantine-MultiSelect-input")
    methods.click(position={"x": 4, "y": 4})  # not on a chosen method
    page.get_by_role("option", name="Coalition Shapley").click()
    expect(told).to_contain_text("At most 25 backward passes over each of 256 examples.")
    page.keyboard.press("Escape")
    page.locator("#form-model").click()
    page.get_by_role("option", name=re.compile("SmolLM2")).click()
    expect(told).to_contain_text("Unknown. There are no earlier runs of this model.")
    methods.click(position={"x": 4, "y": 4})
    page.get_by_role("option", name="Permutation Shapley").click()
    expect(told).to_contain_text("at most 4,096 units of a kind")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_model_is_uploaded_after_a_cut_and_scored(
    page: WatchedPage, start_server: StartServer, tmp_path: Path
) -> None:
    page.allowed += ["ERR_FAILED", "Failed to load resource"]
    server = start_server(MODELSHAPLEY_MAX_BODY_BYTES="200000")
    folder = tmp_path / "my vit"
    shutil.copytree(ASSETS / "digits-vit", folder)
    (folder / "README.md").write_text("stays behind")
    cuts = []

    def cut(route: Route) -> None:
        """The line breaks at the third piece, once."""
        cuts.append(route.request.url)
        if len(cuts) == 3:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/v1/uploads/*/files/*", cut)
    page.goto(f"{server.url}/new")
    page.get_by_text("Upload a model").click()
    page.get_by_label("Model folder").set_input_files(folder)
    expect(page.get_by_label("Model name")).to_have_value("my-vit")
    expect(page.locator("#upload-message")).to_contain_text("3 files, 732 KiB; skipped: README.md")
    assert_accessible(page)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#upload-message")).to_contain_text("Connection lost", timeout=10_000)
    expect(page.locator("#upload-message")).to_contain_text("Uploaded local:my-vit;", timeout=20_000)
    assert len(cuts) > 4
    expect(page.locator("#form-model")).to_have_value("my-vit (local:my-vit)")  # it is the chosen one
    page.get_by_role("button", name="Score", exact=True).click()
    expect_map(page, timeout=60_000)
    expect(page.locator("#accuracy")).to_have_text(re.compile(r"^9\d\.\d %$"))
    page.goto(f"{server.url}/new")
    page.get_by_text("Upload a model").click()
    page.get_by_label("Model folder").set_input_files(folder)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#upload-problem")).to_have_text("There already is a model local:my-vit; choose another name.")


def test_a_run_is_watched_and_cancelled_on_its_page(page: Page, house: Server, api: Client) -> None:
    slow = QUICK.model_copy(update={"methods": ["coalition-shapley,passes=64"], "limit": 288, "seed": 3})
    run = api.submit_run(slow)
    page.goto(f"{house.url}/runs/{run.id}")
    expect(page.get_by_role("progressbar", name="progress of the run")).to_be_attached()
    expect(page.locator("#run-state")).to_contain_text(re.compile(r"\d+ of 288 examples"), timeout=30_000)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_text("This run was cancelled before it finished.")).to_be_visible()
    expect(page.locator("#run-cancel")).to_be_disabled()


def test_an_upload_that_is_no_model_says_why_and_is_dropped(
    page: WatchedPage, house: Server, api: Client, tmp_path: Path
) -> None:
    page.allowed += ["status of 422"]
    folder = tmp_path / "bad"
    shutil.copytree(ASSETS / "digits-vit", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    page.goto(f"{house.url}/new")
    page.get_by_text("Upload a model").click()
    page.get_by_label("Model folder").set_input_files(folder)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#upload-problem")).to_contain_text("needs its own code to run")
    assert len(api.uploads()) == 1
    page.get_by_role("button", name="Discard", exact=True).click()
    expect(page.locator("#upload-message")).to_have_text("Discarded.")
    assert api.uploads() == []


@pytest.mark.slow
def test_a_model_of_the_hub_is_looked_up_and_scored(page: Page, start_server: StartServer, tmp_path: Path) -> None:
    with fake_hub("some-one/digits", ASSETS / "digits-vit") as (address, _):
        server = start_server(HF_ENDPOINT=address, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
        page.goto(f"{server.url}/new")
        page.get_by_text("Load from Hugging Face").click()
        page.get_by_label("Model on the hub").fill("some-one/nothing")
        page.get_by_role("button", name="Look up").click()
        expect(page.locator("#form-hub-answer")).to_contain_text("is not available from the Hugging Face hub")
        page.get_by_label("Model on the hub").fill("some-one/digits")
        page.get_by_role("button", name="Look up").click()
        expect(page.locator("#form-model")).to_have_value(re.compile(f"hub:some-one/digits@{COMMIT}"))
        assert_accessible(page)
        page.get_by_role("button", name="Score", exact=True).click()
        expect_map(page, timeout=60_000)
        page.goto(server.url)
        expect(page.locator(".run-card .title")).to_have_text(f"some-one/digits@{COMMIT[:8]} on digits")
