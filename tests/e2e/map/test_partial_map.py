"""The page of a run while it is scored: a grey map that fills, said to be partial, and then the map itself."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import ApiError, Client
from modelshapley.contracts import Run, RunRequest
from modelshapley.models.catalog import DIGITS_VIT
from tests.conftest import Server
from tests.e2e.conftest import Looks
from tests.e2e.map.test_dashboard import assert_accessible, expect_map

SLOW = RunRequest(
    model=DIGITS_VIT,
    task="digits",
    methods=["coalition-shapley,passes=48"],
    units=["head"],
    limit=288,
    seed=11,
    faithfulness="none",
)


def watched(page: Page, server: Server, api: Client, seed: int) -> Run:
    """A run whose page shows its map so far."""
    run = api.submit_run(SLOW.model_copy(update={"seed": seed}))
    page.goto(f"{server.url}/runs/{run.id}")
    expect(page.locator("#partial-map .js-plotly-plot")).to_be_visible(timeout=60_000)
    expect(page.locator("#partial-text")).to_have_text(re.compile(r": \d+ of 288 examples"), timeout=90_000)
    return run


@pytest.mark.slow  # the run must last
@pytest.mark.timeout(240)
def test_the_map_fills_while_the_run_is_scored(page: Page, server: Server, api: Client) -> None:
    run = watched(page, server, api, 11)
    partial = api.partial_map(run.id, run.methods[0], "head")
    assert 0 < partial.n <= partial.total == 288
    assert np.isfinite(np.array(partial.map.scores, dtype=float)).all()
    assert partial.map.provenance["partial_of"] == 288
    assert api.partial_map(run.id, run.methods[0], "head", after=288) is None
    with pytest.raises(ApiError, match="its maps are available once it is done"):
        api.importance_map(run.id, run.methods[0], "head")
    expect_map(page, timeout=150_000)
    expect(page.locator("#partial-map")).to_have_count(0)
    with pytest.raises(ApiError, match=rf"Run {run.id} is done; its map is") as ended:
        api.partial_map(run.id, run.methods[0], "head")
    assert ended.value.problem.status == 409
    deadline = time.monotonic() + 10
    while list((server.data / "runs" / run.id).glob("partial-*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_cancelled_run_keeps_no_map(page: Page, server: Server, api: Client, looks: Looks) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    run = watched(page, server, api, 390)
    for _ in looks((390, 1024), ("light",)):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert_accessible(page)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_text("This run was cancelled before it finished.")).to_be_visible(timeout=20_000)
    expect(page.locator("#partial-map")).to_be_hidden(timeout=20_000)
    with pytest.raises(ApiError, match="it has no map"):
        api.partial_map(run.id, run.methods[0], "head")
