"""Empty and failed states of a page: one sentence and one action."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from frontend.links import link
from modelshapley.client import ApiError
from modelshapley.errors import ModelShapleyError


def state(title: str, sentence: str, action: Any = None, order: int = 1) -> Any:
    """A heading, a sentence and an action. order: the heading's level, 1 where this is the whole page."""
    return html.Div(
        dmc.Stack(
            [dmc.Title(title, order=order, size="h2"), dmc.Text(sentence, maw=560, mx="auto"), action],
            align="center",
        ),
        className="state",
    )


def not_found(path: str) -> Any:
    """The page for an unknown path."""
    return state("Page not found", f"There is no page at {path}.", dmc.Anchor("Back to the runs", href=link("/")))


def failure(error: ModelShapleyError) -> Any:
    """An alert for an error that stays until somebody does something."""
    return dmc.Alert(str(error), color="red", title="Something went wrong", variant="light")


def trying_again(error: ModelShapleyError) -> Any:
    """An alert for an error after which the page retries by itself."""
    message = error.problem.detail if isinstance(error, ApiError) else str(error)
    return dmc.Alert(f"{message} Retrying …", color="yellow", title="Temporarily unavailable", variant="light")
