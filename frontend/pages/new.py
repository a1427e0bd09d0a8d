"""Score a model: which model, on which task, by which methods, and what that will cost."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
from dash import Dash, html

from frontend.pages import form
from modelshapley.client import AsyncClient


async def layout(api: AsyncClient, search: str = "") -> Any:
    """`?task=NAME` and `?model=ID` choose what the form begins with. Raises ModelShapleyError."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    return html.Div(
        [
            html.Section(
                [
                    dmc.Title("Score a model", order=1, size="h2", mb="xs"),
                    await form.layout(api, query.get("task")),
                ]
            ),
        ],
        className="new-grid",
    )


def register(app: Dash, api: AsyncClient) -> None:
    form.register(app, api)
