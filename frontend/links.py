"""Addresses within the dashboard and the API, below the path that they are served under."""

from __future__ import annotations

_under = ""


def serve_under(path: str) -> None:
    """'/lab/shapley', or nothing; told once as the server starts, since links are written all over the pages."""
    global _under  # one server a process
    _under = path


def link(path: str) -> str:
    """'/runs/3f9c' as a browser must ask for it."""
    return _under + path


def inner(path: str) -> str:
    """The reverse of :func:`link`; a path that is not below ours stays as it is."""
    below = path == _under or path.startswith(f"{_under}/")
    return (path.removeprefix(_under) or "/") if below else path
