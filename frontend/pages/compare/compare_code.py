"""The code of the compare page: fetch the maps, and correlate their ranks."""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State

from frontend import snippets
from frontend.links import server_of
from frontend.pages.compare import choosers
from frontend.pages.shared import code
from frontend.pages.shared.wiring import Callbacks
from modelshapley.units import UnitKind

callbacks = Callbacks()


@callbacks.server(
    Output("compare-code-content", "children"),
    Output("compare-code-dialog", "opened"),
    Input("compare-code", "n_clicks"),
    *choosers.fields(State),
    State("compare-names", "data"),
    State("compare-unit", "value"),
    State("url", "href"),
    prevent_initial_call=True,
)
async def show_code(
    _: int, runs: list[str], methods: list[str], labels: list[str], names: list[str], unit: str, href: str
) -> Any:
    """Open the dialog with the code."""
    chosen = choosers.choices_of(runs, methods, labels)
    maps = {
        name: snippets.MapName(choice.run, choice.method, choice.label)
        for name, choice in zip(names, chosen, strict=True)
    }
    return code.content(snippets.of_comparison(server_of(href), maps, UnitKind(unit))), True
