"""Trust in a real browser: from the map to the verdict, what it rests on, and a check asked for by hand."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run, RunRequest, Status
from modelshapley.evaluation.verdict import verdict
from modelshapley.units import UnitKind
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Looks
from tests.e2e.map.test_dashboard import assert_accessible, open_map


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def open_trust(page: Page, server: Server, run: Run, query: str = "") -> None:
    page.goto(f"{server.url}/runs/{run.id}/trust{query}")
    expect(page.locator("#verdict")).to_be_visible(timeout=30_000)


def test_from_the_map_to_the_verdict_and_through_methods_and_kinds(
    page: Page, server: Server, api: Client, digits_run: Run
) -> None:
    report = api.checked(digits_run.id)
    open_map(page, server, digits_run)
    page.get_by_role("link", name="See the evidence").click()
    expect(page).to_have_url(re.compile(rf"/runs/{digits_run.id}/trust\?method=two-sided&unit=head$"))
    expect(page.locator("#verdict")).to_be_visible()
    assert plain(page.inner_text("#verdict")) == verdict(report, "two-sided", UnitKind.HEAD).sentence
    expect(page.locator(".trust-grid .scatterlayer .trace")).to_have_count(6)
    page.locator("#trust-unit").get_by_text("Neurons").click()
    expect(page.locator("#verdict")).to_contain_text("neurons")
    page.locator("#trust-method").click()
    page.get_by_role("option", name="Path Shapley (points=2)").click()
    expect(page).to_have_url(re.compile(r"method=path-shapley%2Cpoints%3D2&unit=neuron$"))
    expect(page.get_by_text("sum of scores", exact=True)).to_be_visible()
    found = verdict(report, "path-shapley,points=2", UnitKind.NEURON)
    expect(page.locator("#verdict-mark")).to_have_text(f"{found.mark.shape} {found.mark.value}")
    page.reload()
    expect(page.locator("#verdict-mark")).to_have_text(f"{found.mark.shape} {found.mark.value}")
    page.get_by_text("Table", exact=True).first.click()
    least = next(e for e in report.maps if (e.method, e.unit) == ("path-shapley,points=2", "neuron")).least
    expect(page.get_by_role("region", name="Accuracy with the least important off")).to_contain_text(
        f"{100 * least.points[0].accuracy:.1f} %"
    )
    page.get_by_text("How is this computed?").click()
    expect(page.get_by_text("square root")).to_be_visible()
    page.get_by_role("link", name="See the map").click()
    expect(page).to_have_url(re.compile(rf"/runs/{digits_run.id}\?method=path-shapley%2Cpoints%3D2&unit=neuron"))


def test_a_run_that_was_not_checked_is_checked_by_a_click(page: Page, server: Server, api: Client) -> None:
    request = RunRequest(
        model="demo:digits-vit", task="digits", units=["head"], methods=["mean-abs"], seed=6, faithfulness="none"
    )
    run = api.wait(api.submit_run(request).id)
    open_trust(page, server, run)
    expect(page.locator("#verdict-mark")).to_have_text("? not checked")
    page.get_by_role("button", name="Check now").click()
    expect(page.locator("#check-progress")).to_contain_text("Quick check in progress")
    expect(page.locator("#verdict-mark")).not_to_have_text("? not checked", timeout=60_000)
    expect(page.get_by_role("button", name="Check thoroughly")).to_be_visible(timeout=60_000)
    found = verdict(api.faithfulness(run.id), "mean-abs", UnitKind.HEAD)
    assert plain(page.inner_text("#verdict")) == found.sentence


def test_a_run_that_is_not_done_or_not_there_is_said(page: Page, start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        run = api.submit_run(RunRequest(model="demo:digits-vit", task="digits"))
    page.goto(f"{server.url}/runs/{run.id}/trust")
    expect(page.get_by_text("can be checked once the run is done")).to_be_visible()
    page.goto(f"{server.url}/runs/nope/trust")
    expect(page.get_by_text("There is no run 'nope'.")).to_be_visible()


def test_it_is_accessible_and_fits(page: Page, server: Server, api: Client, digits_run: Run, looks: Looks) -> None:
    api.checked(digits_run.id)
    page.set_viewport_size({"width": 1440, "height": 700})
    open_trust(page, server, digits_run, "?method=nonsense&unit=head")
    expect(page.get_by_text("This run was not scored by 'nonsense'.")).to_be_visible()
    for _, width in looks((1440, 1024)):
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_running_check_is_cancelled_by_a_click(page: Page, server: Server, api: Client) -> None:
    request = RunRequest(
        model="demo:digits-vit", task="digits", methods=["two-sided", "mean-abs"], seed=7, faithfulness="none"
    )
    run = api.wait(api.submit_run(request).id)
    open_trust(page, server, run)
    page.get_by_role("button", name="Check thoroughly").click()
    expect(page.locator("#check-progress")).to_contain_text("Full check in progress")
    page.get_by_role("button", name="Cancel the check").click()
    expect(page.get_by_text("The check was cancelled after")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("button", name="Check now")).to_be_visible()
    assert api.run(run.id).checks is Status.CANCELLED
    assert_accessible(page)
