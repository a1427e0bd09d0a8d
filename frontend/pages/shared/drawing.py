"""Plotly figures on pages, drawn in the colours of the page's theme."""

from __future__ import annotations

from typing import Any

from dash import MATCH, Input, Output, dcc, html

from frontend.pages.shared.wiring import Callbacks

callbacks = Callbacks()


def graph(name: str, figure: dict[str, Any], description: str) -> Any:
    """A figure. description: what it shows, for screen readers."""
    return html.Div(
        [
            dcc.Store(id={"type": "figure", "name": name}, data=figure),
            dcc.Graph(
                id={"type": "graph", "name": name},
                config={"displayModeBar": False, "showSendToCloud": False},
                style={"height": figure["layout"]["height"]},
            ),
        ],
        role="img",
        **{"aria-label": description},
    )


callbacks.browser(
    "page",
    "themed",
    Output({"type": "graph", "name": MATCH}, "figure"),
    Input({"type": "figure", "name": MATCH}, "data"),
    Input("theme", "data"),
)
