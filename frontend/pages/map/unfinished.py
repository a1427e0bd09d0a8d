"""The page of a run that is not done: its progress with time left and a way to cancel it, or why it has no map."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update

from frontend.links import link
from frontend.pages.map import partial
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, Status
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()
TICK_MS = 700


def layout(run: Run) -> Any:
    """Lay out the page; `watch_run` of the map page replaces it by the map."""
    return html.Div(
        [
            dcc.Interval(id="run-tick", interval=TICK_MS, disabled=run.status.ended),
            dcc.Store(id="run", data=run.model_dump(mode="json")),
            html.Div(state(run), id="run-state"),
            dmc.Center(
                dmc.Button("Cancel", id="run-cancel", variant="default", size="sm"),
                style={"display": "none"} if run.status.ended else {},
            ),
            html.Div(id="run-cancel-problem", role="alert"),
            partial.layout(run),
        ],
        className="unfinished",
    )


def state(run: Run) -> Any:
    """The state: a bar with what is being done, or what ended the run."""
    title = formatting.run_heading(run)
    back = dcc.Link("Back to the runs", href=link("/"))
    if run.status is Status.FAILED:
        return empty_states.state(title, run.error or "The run failed.", back)
    if run.status is Status.CANCELLED:
        return empty_states.state(title, "This run was cancelled before it finished.", back)
    progress = formatting.progress(run)
    bar = dmc.Progress(
        value=formatting.share_done(run), w=360, maw="80vw", animated=True, **{"aria-label": "progress of the run"}
    )
    about = f"{', '.join(run.methods)} · {run.limit} examples at most · seed {run.seed}"
    worker = f"Worker {run.worker}" if run.worker else "The map appears below as examples are scored."
    detail = html.Div([html.Div(about), html.Div(worker)], className="quiet")
    return empty_states.state(title, f"{progress[0].upper()}{progress[1:]}.", dmc.Stack([bar, detail], align="center"))


callbacks.include(partial.callbacks)


@callbacks.server(
    Output("run-cancel-problem", "children"),
    Input("run-cancel", "n_clicks"),
    State("run", "data"),
    prevent_initial_call=True,
)
async def cancel(clicks: int | None, data: Any, *, api: AsyncClient) -> Any:
    """Cancel the run; the next tick shows it."""
    if not clicks:
        return no_update
    try:
        await api.send(client.cancel_run(data["id"]))
    except ModelShapleyError as error:
        return empty_states.failure(error)
    return None
