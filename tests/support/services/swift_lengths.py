"""Filter for the Swift of Debian 12, which ends the answer to HEAD with a chunk: clients take it for the next answer.

Loaded by Swift itself, with Debian's Python and without ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def filter_factory(_: Any, **__: Any) -> Callable[[Any], Any]:
    """Return the filter, as paste.deploy wants it."""
    return Lengths


class Lengths:
    """WSGI filter that gives each answer to HEAD a length and no body."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], problem: Any = None) -> Any:
            if not any(name.lower() == "content-length" for name, _ in headers):
                headers = [*headers, ("Content-Length", "0")]
            return start_response(status, headers, problem)

        self._app(environ, start)
        return []
