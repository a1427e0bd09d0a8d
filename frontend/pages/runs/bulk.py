"""Several runs at once: chosen by the boxes on their cards, then deleted together."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, html, no_update

from frontend.pages.runs.run_card import action_id
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()
PICKS = {"type": "run-pick", "run": ALL}


def layout() -> Any:
    """Lay out the bar; it is visible while runs are chosen."""
    return html.Div(
        [
            html.Span(id="runs-picked", role="status"),
            dmc.Button("Delete", id="runs-delete", size="xs", variant="default"),
            dmc.Button("Choose none", id="runs-unpick", size="xs", variant="subtle", color="gray"),
        ],
        id="runs-bulk",
        className="notice runs-bulk",
        hidden=True,
    )


@callbacks.server(
    Output("runs-bulk", "hidden"),
    Output("runs-picked", "children"),
    Input(PICKS, "checked"),
    prevent_initial_call=True,
)
async def count_picks(checked: list[bool | None]) -> Any:
    """Say how many runs are chosen."""
    picked = sum(map(bool, checked))
    return not picked, f"{picked} run{'s' * (picked != 1)} chosen"


@callbacks.server(
    Output(PICKS, "checked"),
    Input("runs-unpick", "n_clicks"),
    State(PICKS, "checked"),
    prevent_initial_call=True,
)
async def choose_none(_: int | None, checked: list[bool | None]) -> Any:
    """Clear all boxes."""
    return [False] * len(checked)


@callbacks.server(
    Output("runs-action", "data", allow_duplicate=True),
    Output("runs-notice", "children", allow_duplicate=True),
    Input("runs-delete", "n_clicks"),
    State(PICKS, "checked"),
    State(PICKS, "id"),
    running=[(Output("runs-delete", "disabled"), True, False)],
    prevent_initial_call=True,
)
async def delete_picked(
    clicks: int | None, checked: list[bool | None], ids: list[dict[str, str]], *, api: AsyncClient
) -> Any:
    """Delete the chosen runs, one by one; what could not be deleted is named."""
    if not ctx.triggered[0]["value"]:
        return no_update, no_update
    deleted, problems = [], []
    for run_id in [place["run"] for place, chosen in zip(ids, checked, strict=True) if chosen]:
        try:
            await api.send(client.delete_run(run_id))
            deleted.append(run_id)
        except ModelShapleyError as error:
            problems.append(empty_states.failure(error))
    if not deleted:
        return no_update, problems
    undo = html.Button("Undo", id=action_id("undo", ",".join(deleted)), className="plain-button", autoFocus=True)
    notice = html.Div([f"Deleted {len(deleted)} run{'s' * (len(deleted) != 1)}. ", undo], className="notice")
    return {"deleted": deleted, "clicks": clicks}, [notice, *problems]
