"""Links within the dashboard and to the API, below the path that they are served under."""

from __future__ import annotations

_under = ""


def serve_under(path: str) -> None:
    """Set the path of the reverse proxy: '/lab/shapley', or ''. Global, since every page writes links."""
    global _under  # one server per process
    _under = path


def link(path: str) -> str:
    """Return a path such as '/runs/3f9c' as a browser must request it."""
    return _under + path


def server_of(href: str) -> str:
    """Return the address of this server as the browser at `href` reaches it: 'https://lab.org/shapley'."""
    scheme, _, rest = href.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{_under}"


def inner(path: str) -> str:
    """Return a browser's path as the dashboard knows it: the reverse of :func:`link`."""
    below = path == _under or path.startswith(f"{_under}/")
    return (path.removeprefix(_under) or "/") if below else path
