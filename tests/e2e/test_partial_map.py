"""The page of a run while it is scored: a grey map that fills, said to be partial, and then the map itself."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import ApiError, Client
from modelshapley.contracts import RunRequest
from modelshapley.models.catalog import DIGITS_VIT
from tests.conftest import Server
from tests.e2e.test_dashboard import assert_accessible, expect_map

SLOW = RunRequest(
    model=DIGITS_VIT,
    task="digits",
    methods=["coalition-shapley,passes=24"],
    units=["head"],
    limit=288,
    seed=11,
    faithfulness="none",
)


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.timeout(240)
def test_the_map_fills_while_the_run_is_scored(page: Page, server: Server, api: Client, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    run = api.submit_run(SLOW.model_copy(update={"seed": width}))
    page.goto(f"{server.url}/runs/{run.id}")
    expect(page.locator("#partial-map .js-plotly-plot")).to_be_visible(timeout=60_000)
    expect(page.locator("#partial-text")).to_have_text(re.compile(r": \d+ of 288 examples"), timeout=90_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
    partial = api.partial_map(run.id, run.methods[0], "head")
    if partial is not None:  # else the run has just ended
        assert 0 < partial.n <= partial.total == 288
        assert np.isfinite(np.array(partial.map.scores, dtype=float)).all()
        assert partial.map.provenance["partial_of"] == 288
        assert api.partial_map(run.id, run.methods[0], "head", after=288) is None
        with pytest.raises(ApiError, match="its maps are available once it is done"):
            api.importance_map(run.id, run.methods[0], "head")
    expect_map(page, timeout=120_000)
    expect(page.locator("#partial-map")).to_have_count(0)
    with pytest.raises(ApiError, match=rf"Run {run.id} is done; its map is") as ended:
        api.partial_map(run.id, run.methods[0], "head")
    assert ended.value.problem.status == 409
    assert not list((server.data / "runs" / run.id).glob("partial-*"))
