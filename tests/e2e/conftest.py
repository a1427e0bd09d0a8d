"""A real Chromium against the real server. Any console error fails the test that caused it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, Literal, cast

import pytest
from playwright.sync_api import Browser, Page, ViewportSize
from pytest_playwright.pytest_playwright import CreateContextCallback

from benchmarks.support.browser import QUIET_FLAGS, chromium

VIEWPORT: ViewportSize = {"width": 1440, "height": 900}


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
    return {**browser_context_args, "viewport": VIEWPORT}


TOUR_READ = "localStorage.setItem('modelshapley-tour', 'read')"
Scheme = Literal["light", "dark"]
Looks = Callable[..., Iterator[tuple[Scheme, int]]]
SETTLED_MS = 400  # colours fade, and figures are drawn again


class WatchedPage(Page):
    """The type of the fixture `page`. allowed: words of errors that a test provokes."""

    allowed: list[str]


@pytest.fixture(scope="module")
def kept_page(browser: Browser, browser_context_args: dict[str, Any]) -> Iterator[Page]:
    """The page of a file's tests. Its process has the scripts compiled, which is a third of the CPU time of a visit."""
    context = browser.new_context(**browser_context_args)
    page = context.new_page()
    page.add_init_script(TOUR_READ)
    yield page
    context.close()


@pytest.fixture
def page(kept_page: Page, new_context: CreateContextCallback, request: pytest.FixtureRequest) -> Iterator[WatchedPage]:
    """A page that remembers what went wrong in it; `page.allowed` takes words of errors that a test provokes.

    Tests marked `first_visit` or `own_page` have one that nothing has visited; others that of their file, without what
    the test before has left in it.
    """
    first_visit = request.node.get_closest_marker("first_visit") is not None
    own = first_visit or request.node.get_closest_marker("own_page") is not None
    page = new_context().new_page() if own else kept_page
    if own and not first_visit:
        page.add_init_script(TOUR_READ)
    watched = cast(WatchedPage, page)
    watched.allowed = []
    with _watched(page) as wrong:
        yield watched
    if not own:
        _forget(page)
    unexpected = [text for text in wrong if not any(words in text for words in watched.allowed)]
    assert not unexpected, unexpected


@contextmanager
def _watched(page: Page) -> Iterator[list[str]]:
    """Note errors in the console, errors of scripts, and requests to other machines."""
    wrong: list[str] = []
    listeners: dict[Any, Callable[[Any], None]] = {
        "console": lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None,
        "pageerror": lambda error: wrong.append(f"error: {error}"),
        "request": lambda r: wrong.append(f"outside: {r.url}") if not _local(r.url) else None,
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    yield wrong
    for event, listener in listeners.items():
        page.remove_listener(event, listener)


def _forget(page: Page) -> None:
    """Leave a page as it was before a test: nothing stored, no other tab, at its size, the mouse away."""
    page.unroute_all(behavior="ignoreErrors")
    if page.url.startswith("http"):
        page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
    page.context.clear_cookies()
    for other in page.context.pages:
        if other is not page:
            other.close()
    page.goto("about:blank")
    page.set_viewport_size(VIEWPORT)
    page.emulate_media(color_scheme="light")
    page.mouse.move(0, 0)


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
