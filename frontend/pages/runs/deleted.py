"""The page of a run that was deleted: when, for how long it can still come back, and the way to bring it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from frontend.pages.shared import empty_states
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run
from modelshapley.errors import ModelShapleyError

Page = Callable[[str, str], Awaitable[Any]]


async def layout(api: AsyncClient, run: Run) -> Any:
    """Of a run with `deleted` set."""
    assert run.deleted is not None
    until = run.deleted + timedelta(hours=(await api.send(client.limits())).deleted_kept_hours)
    return html.Div(
        [
            dcc.Store(id="deleted-run", data=run.id),
            empty_states.state(
                "This run was deleted",
                f"{formatting.run_title(run)} was deleted {formatting.ago(run.deleted)}. Its maps, trials and report "
                f"are kept until {until.strftime('%d %b, %H:%M')} UTC, and can be brought back until then.",
                dmc.Button("Undo", id="deleted-undo"),
            ),
            html.Div(id="deleted-problem", role="alert"),
        ]
    )


def register(app: Dash, api: AsyncClient, page: Page) -> None:
    """page: what is shown at a path and query."""

    @app.callback(
        Output("page", "children", allow_duplicate=True),
        Output("deleted-problem", "children"),
        Input("deleted-undo", "n_clicks"),
        State("deleted-run", "data"),
        State("url", "pathname"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def _undo(clicks: int | None, run_id: str, path: str, search: str | None) -> Any:
        if not clicks:
            return no_update, no_update
        try:
            await api.send(client.bring_back_run(run_id))
        except ModelShapleyError as error:
            return no_update, empty_states.failure(error)
        return await page(path, search or ""), no_update
