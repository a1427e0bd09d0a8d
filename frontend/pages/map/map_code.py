"""The code of the map page: fetch this map, and measure what is switched off."""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State

from frontend import snippets
from frontend.address import Ranked
from frontend.links import server_of
from frontend.pages.shared import code
from frontend.pages.shared.wiring import Callbacks
from frontend.selection import deactivation_of
from modelshapley.units import UnitKind

callbacks = Callbacks()


@callbacks.server(
    Output("map-code-content", "children"),
    Output("map-code-dialog", "opened"),
    Input("map-code", "n_clicks"),
    State("reading", "data"),
    State("unit", "value"),
    State("class", "value"),
    State("selection", "data"),
    State("run", "data"),
    State("url", "href"),
    prevent_initial_call=True,
)
async def show_code(_: int, method: str, unit: str, label: str, selection: Any, run: Any, href: str) -> Any:
    """Open the dialog with the code."""
    name = snippets.MapName(run["id"], method, label or None)
    off, share = deactivation_of(selection), selection.get("ranked")
    chosen = off if not share else Ranked(share["which"], share["fraction"], UnitKind(share["unit"]), share["method"])
    snippet = snippets.of_map(server_of(href), name, UnitKind(unit), chosen, off.treatment)
    return code.content(snippet), True
