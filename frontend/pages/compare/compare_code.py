"""The code of the compare page: fetch both maps, and correlate their ranks."""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State

from frontend import snippets
from frontend.links import server_of
from frontend.pages.shared import code
from frontend.pages.shared.wiring import Callbacks
from modelshapley.units import UnitKind

callbacks = Callbacks()
CHOICES = [
    State({"type": f"compare-{part}", "side": side}, "value") for side in "ab" for part in ("run", "method", "class")
]


@callbacks.server(
    Output("compare-code-content", "children"),
    Output("compare-code-dialog", "opened"),
    Input("compare-code", "n_clicks"),
    *CHOICES,
    State("compare-unit", "value"),
    State("url", "href"),
    prevent_initial_call=True,
)
async def show_code(
    _: int, run_a: str, method_a: str, class_a: str, run_b: str, method_b: str, class_b: str, unit: str, href: str
) -> Any:
    """Open the dialog with the code."""
    a, b = snippets.MapName(run_a, method_a, class_a or None), snippets.MapName(run_b, method_b, class_b or None)
    return code.content(snippets.of_comparison(server_of(href), a, b, UnitKind(unit))), True
