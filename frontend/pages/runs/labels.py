"""The editor of a run's name, notes and tags, on the run's page."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, RunLabels
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()


def layout(run: Run) -> Any:
    """Lay out id, owner and labels of a run, with the fields to change them behind "Name, notes, tags"."""
    owner = f" · by {run.owner}" if run.owner else ""
    return html.Div(
        [
            html.Span(["Run ", html.Code(run.id), owner], className="quiet"),
            dcc.Clipboard(content=run.id, title="Copy the id of this run", className="copy"),
            *[html.Span(tag, className="run-tag") for tag in run.tags],
            html.Details([html.Summary("Name, notes, tags"), _fields(run)], className="unfolding run-labels"),
            html.Div(run.comment, className="run-comment") if run.comment else None,
        ],
        className="run-line",
        id="run-line",
    )


def _fields(run: Run) -> Any:
    return html.Div(
        [
            dmc.TextInput(
                id="run-name", label="Name", value=run.name or "", inputProps={"maxLength": 120}, placeholder="no name"
            ),
            dmc.Textarea(id="run-comment", label="Notes", value=run.comment or "", autosize=True, minRows=2, maxRows=8),
            dmc.TagsInput(
                id="run-tags",
                label="Tags",
                value=run.tags,
                maxTags=16,
                description="Press Enter after each",
                acceptValueOnBlur=True,
            ),
            dmc.Button("Save", id="run-label", size="xs", mt="sm"),
            html.Div(id="run-label-problem", role="alert"),
        ],
        className="panel",
    )


@callbacks.server(
    Output("run-line", "children"),
    Output("run-title", "children"),
    Output("run-label-problem", "children"),
    Input("run-label", "n_clicks"),
    State("run-name", "value"),
    State("run-comment", "value"),
    State("run-tags", "value"),
    State("run", "data"),
    running=[(Output("run-label", "disabled"), True, False)],
    prevent_initial_call=True,
)
async def save_labels(
    clicks: int | None, name: str, comment: str, tags: list[str], data: Any, *, api: AsyncClient
) -> Any:
    """Save what the fields hold."""
    if not clicks:
        return no_update, no_update, no_update
    try:
        labels = RunLabels(name=name.strip() or None, comment=comment, tags=[tag.strip() for tag in tags])
        run = await api.send(client.label_run(data["id"], labels))
    except ValueError:
        problem = "A name is one line of at most 120 characters, a tag at most 40 without commas, each once."
        return no_update, no_update, dmc.Alert(problem, color="red", variant="light")
    except ModelShapleyError as error:
        return no_update, no_update, empty_states.failure(error)
    return layout(run).children, formatting.run_heading(run), None
