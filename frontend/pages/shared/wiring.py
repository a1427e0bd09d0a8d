"""Callbacks as functions of a module: collected when it is imported, wired into an app with the services they need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import Parameter, signature
from typing import Any, TypeVar

from dash import ClientsideFunction, Dash

PageRenderer = Callable[[str, str], Awaitable[Any]]
"""Lays out the page at a path and query of the browser."""
Function = TypeVar("Function", bound=Callable[..., Any])


class Callbacks:
    """The callbacks of one module, as an APIRouter holds the routes of one.

    A server callback names the services it needs as keyword-only parameters (`api`, `maps`, ...); :meth:`wire` binds
    them. Dash passes its own arguments by position, so the two never meet, and a test calls the function directly.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def server(self, *dependencies: Any, **options: Any) -> Callable[[Function], Function]:
        """Collect the decorated function; arguments as those of `Dash.callback`."""

        def collect(function: Function) -> Function:
            self._entries.append((function, dependencies, options))
            return function

        return collect

    def browser(self, namespace: str, name: str, *dependencies: Any, **options: Any) -> None:
        """Collect a function of assets/*.js; further arguments as those of `Dash.clientside_callback`."""
        self._entries.append((ClientsideFunction(namespace, name), dependencies, options))

    def include(self, *others: Callbacks) -> None:
        """Add the callbacks of a page's parts to those of the page."""
        for other in others:
            self._entries.extend(other._entries)

    def wire(self, app: Dash, **services: Any) -> None:
        """Register everything collected with `app`. Raises KeyError for a service that is not given."""
        for function, dependencies, options in self._entries:
            if isinstance(function, ClientsideFunction):
                app.clientside_callback(function, *dependencies, **options)
            else:
                app.callback(*dependencies, **options)(_bind(function, services))


def _bind(function: Callable[..., Any], services: dict[str, Any]) -> Callable[..., Any]:
    parameters = signature(function).parameters.values()
    needed = [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
    return partial(function, **{name: services[name] for name in needed})
