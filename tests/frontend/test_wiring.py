"""Callbacks are collected when a module is imported, and bound to the services that they name."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

import pytest
from dash import ClientsideFunction, Input, Output

from frontend.app import callbacks as all_callbacks
from frontend.pages.shared.wiring import Callbacks
from tests.support.coroutines import run


class FakeApp:
    """Records what would be registered with Dash."""

    def __init__(self) -> None:
        self.server: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []
        self.browser: list[tuple[Any, ...]] = []

    def callback(self, *dependencies: Any, **options: Any) -> Any:
        return lambda function: self.server.append((dependencies, options, function))

    def clientside_callback(self, function: ClientsideFunction, *dependencies: Any, **options: Any) -> None:
        self.browser.append((function.namespace, function.function_name, *dependencies))


def test_a_callback_gets_the_services_it_names_and_no_others() -> None:
    callbacks = Callbacks()

    @callbacks.server(Output("a", "children"), Input("b", "value"), prevent_initial_call=True)
    async def show(value: str, *, api: str) -> str:
        return f"{value} by {api}"

    app: Any = FakeApp()
    callbacks.wire(app, api="the API", maps="the maps")
    ((dependencies, options, function),) = app.server
    assert dependencies == (Output("a", "children"), Input("b", "value"))
    assert options == {"prevent_initial_call": True}
    assert iscoroutinefunction(function), "Dash awaits what it knows to be a coroutine function"
    assert run(function("x")) == "x by the API"
    assert run(show("x", api="another")) == "x by another", "the function itself stays as it is"


def test_a_page_includes_its_parts() -> None:
    page, part = Callbacks(), Callbacks()
    part.browser("page", "draw", Output("a", "title"), Input("b", "data"))
    page.include(part)
    app: Any = FakeApp()
    page.wire(app)
    assert app.browser == [("page", "draw", Output("a", "title"), Input("b", "data"))]


def test_a_service_that_is_not_given_is_an_error() -> None:
    callbacks = Callbacks()

    @callbacks.server(Output("a", "children"), Input("b", "value"))
    def show(value: str, *, api: str) -> str:
        return value + api

    app: Any = FakeApp()
    with pytest.raises(KeyError, match="api"):
        callbacks.wire(app)


def test_no_output_has_two_callbacks_unless_that_is_said() -> None:
    app: Any = FakeApp()
    all_callbacks.wire(app, api=None, maps=None, cards=None, matrices=None, render_page=None)
    wired = [d for dependencies, _, _ in app.server for d in dependencies] + [d for e in app.browser for d in e[2:]]
    outputs = [str(d) for d in wired if isinstance(d, Output) and not d.allow_duplicate]
    assert len(app.server) > 30
    assert len(outputs) == len(set(outputs))
