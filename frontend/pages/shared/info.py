"""An "i" beside a control: what it does, behind a click."""

from __future__ import annotations

from typing import Any

from dash import html


def info(name: str, *content: Any) -> Any:
    """A small button that unfolds an explanation. name: of the control, for screen readers."""
    return html.Details(
        [
            html.Summary("i", title=f"About: {name}", **{"aria-label": f"About: {name}"}),
            html.Div(list(content), className="panel"),
        ],
        className="unfolding info",
    )
