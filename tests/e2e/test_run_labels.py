"""Runs get names, notes and tags, are grouped by them, and are deleted together."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run, RunRequest
from tests.conftest import Server
from tests.e2e.map.test_dashboard import assert_accessible

QUICK = RunRequest(model="demo:digits-vit", task="digits", methods=["mean-abs"], limit=8, faithfulness="none")


@pytest.fixture
def runs(api: Client) -> list[Run]:
    return [api.wait(api.submit_run(QUICK).id) for _ in range(3)]


def test_name_tag_group_and_delete_together(page: Page, server: Server, api: Client, runs: list[Run]) -> None:
    first, second, third = runs
    page.goto(f"{server.url}/runs/{first.id}")
    page.locator(".run-labels summary").click()
    page.get_by_label("Name", exact=True).fill("Before the fix")
    page.get_by_label("Notes", exact=True).fill("To be repeated.")
    tags = page.get_by_role("textbox", name="Tags")
    tags.fill("label study")
    tags.press("Enter")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#run-title")).to_have_text("Before the fix (digits-vit on digits)")
    expect(page.locator("#run-line")).to_contain_text("To be repeated.")
    kept = api.run(first.id)
    assert (kept.name, kept.comment, kept.tags) == ("Before the fix", "To be repeated.", ["label study"])

    page.goto(server.url)
    card = page.locator(f"#run-{first.id}")
    expect(card.locator(".title")).to_have_text("Before the fix")
    expect(card).to_contain_text("To be repeated.")
    assert_accessible(page)
    page.locator("#runs-order").get_by_text("By tag").click()
    group = page.locator(".run-group").filter(has=page.get_by_role("heading", name="label study", exact=True))
    expect(group.locator(".run-card")).to_have_count(1)
    expect(page).to_have_url(f"{server.url}/?order=tag")
    card.get_by_role("link", name="label study").click()
    expect(page.locator(".run-card")).to_have_count(1)
    expect(page).to_have_url(f"{server.url}/?tag=label%20study")

    page.get_by_title("Show runs with any tag").click()
    for run in (second, third):
        page.locator(f"#run-{run.id}").get_by_role("checkbox").check()
    expect(page.locator("#runs-picked")).to_have_text("2 runs chosen")
    page.locator("#runs-delete").click()
    expect(page.locator("#runs-notice")).to_contain_text("Deleted 2 runs.")
    expect(page.locator(f"#run-{second.id}")).to_have_count(0)
    assert {second.id, third.id} <= {run.id for run in api.runs(200, deleted=True).items}
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f"#run-{third.id}")).to_be_visible()
    assert api.run(second.id).deleted is None
