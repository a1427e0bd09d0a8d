"""A Plotly figure on a page: drawn in the browser, in the colours of the page's theme."""

from __future__ import annotations

from typing import Any

from dash import MATCH, ClientsideFunction, Dash, Input, Output, dcc, html


def graph(name: str, figure: dict[str, Any], words: str) -> Any:
    """words: what it shows, for those who do not see it."""
    return html.Div(
        [
            dcc.Store(id={"type": "figure", "name": name}, data=figure),
            dcc.Graph(
                id={"type": "graph", "name": name},
                config={"displayModeBar": False},
                style={"height": figure["layout"]["height"]},
            ),
        ],
        role="img",
        **{"aria-label": words},
    )


def register(app: Dash) -> None:
    app.clientside_callback(
        ClientsideFunction("page", "plain"),
        Output({"type": "graph", "name": MATCH}, "figure"),
        Input({"type": "figure", "name": MATCH}, "data"),
        Input("theme", "data"),
    )
