"""The page of a deleted run: until when it can be restored, and the button for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks, PageRenderer
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()


async def layout(api: AsyncClient, run: Run) -> Any:
    """Lay out the page of a run with `deleted` set."""
    assert run.deleted is not None
    until = run.deleted + timedelta(hours=(await api.send(client.limits())).deleted_kept_hours)
    return html.Div(
        [
            dcc.Store(id="deleted-run", data=run.id),
            empty_states.state(
                "This run was deleted",
                f"{formatting.run_title(run)} was deleted {formatting.ago(run.deleted)}. Its maps, trials and report "
                f"can be restored until {until.strftime('%d %b, %H:%M')} UTC.",
                dmc.Button("Undo", id="deleted-undo"),
            ),
            html.Div(id="deleted-problem", role="alert"),
        ]
    )


@callbacks.server(
    Output("page", "children", allow_duplicate=True),
    Output("deleted-problem", "children"),
    Input("deleted-undo", "n_clicks"),
    State("deleted-run", "data"),
    State("url", "pathname"),
    State("url", "search"),
    prevent_initial_call=True,
)
async def restore_run(
    clicks: int | None,
    run_id: str,
    path: str,
    search: str | None,
    *,
    api: AsyncClient,
    render_page: PageRenderer,
) -> Any:
    """Restore the run, and show its page."""
    if not clicks:
        return no_update, no_update
    try:
        await api.send(client.bring_back_run(run_id))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return await render_page(path, search or ""), no_update
