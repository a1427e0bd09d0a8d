"""The code of what a page shows, to copy or to download as a notebook."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import dcc, html

from frontend.snippets import Snippet

MOST_NAME = 120  # characters of a file's name; file systems take 255 bytes


def button(name: str) -> Any:
    """A button, `<name>-code`, and the dialog that it opens, `<name>-code-dialog`. The page fills it."""
    return html.Div(
        [
            html.Button("Code", id=f"{name}-code", className="menu-button", title="What this page shows, as code"),
            dmc.Modal(html.Div(id=f"{name}-code-content"), id=f"{name}-code-dialog", title="As code", size="xl"),
        ]
    )


def unfolding(snippet: Snippet) -> Any:
    """The code behind a summary."""
    return html.Details([html.Summary("Code"), content(snippet)], className="section")


def content(snippet: Snippet) -> Any:
    """Python, curl and a notebook, each with a way to take it along."""
    name = re.sub(r"[^\w.-]+", "-", snippet.title.lower())[:MOST_NAME]
    notebook = html.A(
        "Download the notebook",
        href=f"data:application/x-ipynb+json;charset=utf-8,{quote(snippet.notebook())}",
        download=f"{name}.ipynb",
    )
    panels = {
        "Python": _text(snippet.python),
        "curl": _text(snippet.curl),
        "Notebook": html.Div([html.P("The Python as a notebook for Jupyter."), notebook]),
    }
    return dmc.Tabs(
        [
            dmc.TabsList([dmc.TabsTab(name, value=name) for name in panels]),
            *[dmc.TabsPanel(panel, value=name, pt="sm") for name, panel in panels.items()],
        ],
        value="Python",
    )


def _text(code: str) -> Any:
    return html.Div(
        [dcc.Clipboard(content=code, title="Copy", className="copy"), html.Pre(code, tabIndex=0)], className="snippet"
    )
