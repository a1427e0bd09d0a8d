"""The code that a page shows prints the numbers of that page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run
from tests.conftest import Server
from tests.e2e.map.test_dashboard import measured, open_map


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def code_on(page: Page, tab: str) -> str:
    page.get_by_role("tab", name=tab).click()
    return page.locator(".snippet:visible pre").inner_text()


def test_the_code_of_a_map_and_of_its_trial_runs(
    page: Page, server: Server, api: Client, digits_run: Run, tmp_path: Path
) -> None:
    open_map(page, server, digits_run, "?method=two-sided&off=head:0.1,1.2")
    accuracy = measured(page)
    page.locator("#map-code").click()
    printed = run_python(code_on(page, "Python"))
    (value,) = re.findall(r"^(0\.\d+) \(", printed, re.MULTILINE)
    assert abs(100 * float(value) - accuracy) < 0.051
    curl = code_on(page, "curl")
    *maps, trial = [
        json.loads(subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout)
        for line in curl.splitlines()
    ]
    assert maps[0]["scores"] == api.importance_map(digits_run.id, "two-sided", "head").scores
    assert api.trial(trial["id"]).accuracy == float(value)
    page.get_by_role("tab", name="Notebook").click()
    href = page.get_by_role("link", name="Download the notebook").get_attribute("href")
    assert href is not None
    cell = json.loads(unquote(href.partition(",")[2]))["cells"][1]
    assert run_python(cell["source"]) == printed


def test_the_code_of_a_comparison_runs(page: Page, server: Server, digits_run: Run) -> None:
    page.goto(f"{server.url}/compare?a={digits_run.id}:two-sided&b={digits_run.id}:model-shapley&unit=head")
    body = page.locator("#compare-body")
    expect(body).to_contain_text("ρ")
    page.locator("#compare-code").click()
    rho = float(run_python(code_on(page, "Python")).split()[1])
    assert f"{rho:.2f}" in body.inner_text()
