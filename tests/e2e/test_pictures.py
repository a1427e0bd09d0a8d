"""Every screen at three sizes, light and dark, for people to look at and judge: `make pictures`."""

from __future__ import annotations

import io
import os
from pathlib import Path

import PIL.Image
import pytest
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from modelshapley.contracts import Run
from tests.conftest import Server
from tests.e2e.conftest import Scheme
from tests.e2e.test_try import answer, finished

SIZES = [(1440, 900), (1024, 700), (390, 844)]
SCREENS = {
    "runs": "/",
    "new": "/new",
    "map": "/runs/{run}?unit=head&off=least:0.4:head:two-sided",
    "try": "/try?run={capitals}&unit=head&off=layer:12;head:0.4,3.4,6.4",
    "compare": "/compare?a={run}:two-sided&b={run}:random&unit=head&top=20",
    "compare-several": "/compare?a={run}:two-sided&b={run}:random&c={run}:model-shapley&unit=head",
    "trust": "/runs/{run}/trust?method=two-sided&unit=head",
    "apply": "/runs/{run}/apply",
    "apply-fine-tune": "/runs/{run}/apply",
    "apply-quantise": "/runs/{capitals}/apply",
    "apply-probe": "/runs/{run}/apply",
    "apply-amplify": "/runs/{run}/apply",
    "tasks": "/tasks",
    "system": "/system",
    "keys": "/keys",
    "reading": "/reading",
}


@pytest.mark.slow
@pytest.mark.skipif("PICTURES" not in os.environ, reason="for `make pictures`, which names the folder")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pictures_of_every_screen(
    page: Page,
    server: Server,
    api: Client,
    digits_run: Run,
    capitals_run: Run,
    width: int,
    height: int,
    scheme: Scheme,
) -> None:
    folder = Path(os.environ["PICTURES"]) / "screens"
    folder.mkdir(exist_ok=True)
    api.checked(digits_run.id)
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    for name, path in SCREENS.items():
        page.goto(server.url + path.format(run=digits_run.id, capitals=capitals_run.id))
        expect(page.locator("#page > *").first).to_be_visible()
        if name == "try":
            answer(page, "The capital of France is")
            finished(page)
        if name.startswith("apply-"):
            page.get_by_role("tab", name=name.removeprefix("apply-").capitalize()).click()
        page.wait_for_timeout(3000)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        with PIL.Image.open(io.BytesIO(page.screenshot())) as picture:
            assert len(picture.getcolors(width * height) or []) > 50, f"{name} is empty"
            picture.convert("RGB").save(folder / f"{name}-{width}-{scheme}.webp", quality=80, method=6)
