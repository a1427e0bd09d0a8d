"""Where else a model can come from than the list: from one's own disk."""

from __future__ import annotations

from typing import Any

from dash import html


def layout() -> Any:
    """The form of the upload is built by assets/upload.js, in the empty box."""
    return html.Div(
        html.Details(
            [html.Summary("Upload a model"), html.Div(id="upload-box", className="upload")],
            className="section",
            id="upload-section",
        ),
        className="model-sources",
    )
