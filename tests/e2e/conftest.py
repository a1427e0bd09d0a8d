"""A real Chromium against the real server. Any console error fails the test that caused it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Literal, cast

import pytest
from playwright.sync_api import Page

from benchmarks.support.browser import QUIET_FLAGS, chromium


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the second width of tests that are repeated for each width to `make test-all`."""
    for item in items:
        values = getattr(item, "callspec", None)
        if "e2e" in item.path.parts and values is not None and 1024 in map(_hashable, values.params.values()):
            item.add_marker(pytest.mark.slow)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int) else None


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    found = chromium()
    if found is None:
        pytest.fail("No Chromium on this machine; `make test` installs Debian's, or install one yourself.")
    return {**browser_type_launch_args, "executable_path": found, "args": QUIET_FLAGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1440, "height": 900}}


Scheme = Literal["light", "dark"]
Looks = Callable[..., Iterator[tuple[Scheme, int]]]
SETTLED_MS = 400  # colours fade, and figures are drawn again


class WatchedPage(Page):
    """The type of the fixture `page`. allowed: words of errors that a test provokes."""

    allowed: list[str]


@pytest.fixture
def page(page: Page, request: pytest.FixtureRequest) -> Iterator[WatchedPage]:
    """A page that remembers what went wrong in it; `page.allowed` takes words of errors that a test provokes."""
    wrong: list[str] = []
    watched = cast(WatchedPage, page)
    watched.allowed = []
    if not request.node.get_closest_marker("first_visit"):
        page.add_init_script("localStorage.setItem('modelshapley-tour', 'read')")
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", lambda r: wrong.append(f"outside: {r.url}") if not _local(r.url) else None)
    yield watched
    unexpected = [text for text in wrong if not any(words in text for words in watched.allowed)]
    assert not unexpected, unexpected


@pytest.fixture
def looks(page: Page, request: pytest.FixtureRequest) -> Looks:
    """A function that shows the page as it is in each colour scheme and at each width, without loading it again.

    `make test` leaves the second scheme to `make test-all`.
    """
    one_scheme = request.config.option.markexpr == "not slow"

    def look(widths: Sequence[int] = (), schemes: Sequence[Scheme] = ("light", "dark")) -> Iterator[tuple[Scheme, int]]:
        size = page.viewport_size
        assert size is not None
        for scheme, width in product(schemes[:1] if one_scheme else schemes, widths or (size["width"],)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": size["height"]})
            _settle(page)
            assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
            yield scheme, width
        page.emulate_media(color_scheme=schemes[0])
        page.set_viewport_size(size)

    return look


def _settle(page: Page) -> None:
    """Wait for what follows a change of width or scheme; longer while figures are drawn again on a busy machine."""
    page.wait_for_timeout(SETTLED_MS)
    for _ in range(20):
        if page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            return
        page.wait_for_timeout(SETTLED_MS)


def _local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:"))
