"""What a page shows when there is nothing to show: one sentence and one action."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from frontend.links import link
from modelshapley.client import ApiError
from modelshapley.errors import ModelShapleyError


def state(title: str, sentence: str, action: Any = None, order: int = 1) -> Any:
    """`order`: the level of the heading, 1 where this is the whole page."""
    return html.Div(
        dmc.Stack(
            [dmc.Title(title, order=order, size="h2"), dmc.Text(sentence, maw=560, mx="auto"), action],
            align="center",
        ),
        className="state",
    )


def not_found(path: str) -> Any:
    return state("Nothing here", f"There is no page at {path}.", dmc.Anchor("See the runs", href=link("/")))


def failure(error: ModelShapleyError) -> Any:
    return dmc.Alert(str(error), color="red", title="That did not work", variant="light")


def trying_again(error: ModelShapleyError) -> Any:
    """For an error that passes by itself."""
    said = error.problem.detail if isinstance(error, ApiError) else str(error)
    return dmc.Alert(f"{said} This page keeps trying.", color="yellow", title="Not yet", variant="light")
