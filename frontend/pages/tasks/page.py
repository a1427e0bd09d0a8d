"""Tasks: what models can be scored on, and a task of one's own."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.tasks import task_editor, task_preview
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts.tasks import TaskInfo
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()

MADE_BY_CODE = ("digits", "world-capitals")  # they have no task file to start from


async def layout(api: AsyncClient, search: str) -> Any:
    """The list on the left, the form on the right; `?preview=NAME&model=ID` opens a preview."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    tasks = await api.send(client.tasks())
    return html.Div(
        [
            html.Section(
                [
                    dmc.Title("Tasks", order=1, size="h2", mb="xs"),
                    html.P(
                        "A task is a set of examples and what counts as right. Look at one before you score a "
                        "model on it, or add your own data.",
                        className="quiet",
                    ),
                    html.Div(id="tasks-problem", role="alert"),
                    html.Div(cards(tasks), id="tasks-list"),
                    dcc.Store(id="tasks-drop"),
                    dcc.ConfirmDialog(id="tasks-sure"),
                ]
            ),
            html.Aside(task_editor.layout()),
            task_preview.layout(query.get("preview"), query.get("model")),
        ],
        className="runs-grid tasks-grid",
    )


@callbacks.server(
    Output("tasks-drop", "data"),
    Output("tasks-sure", "message"),
    Output("tasks-sure", "displayed"),
    Input({"type": "drop-task", "task": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def confirm_deletion(_: list[int | None]) -> Any:
    if not ctx.triggered or not ctx.triggered[0]["value"]:
        return no_update, no_update, no_update
    name = ctx.triggered_id["task"]
    return name, f"Delete the task {name}? Its data stay where they are.", True


@callbacks.server(
    Output("tasks-list", "children"),
    Output("tasks-problem", "children"),
    Input("task-added", "data"),
    Input("tasks-sure", "submit_n_clicks"),
    State("tasks-drop", "data"),
    prevent_initial_call=True,
)
async def refresh_tasks(added: str | None, sure: int | None, name: str | None, *, api: AsyncClient) -> Any:
    if ctx.triggered_id is None or (added is None and sure is None):
        return no_update, no_update
    problem = None
    try:
        if ctx.triggered_id == "tasks-sure" and name is not None:
            await api.send(client.drop_task(name))
    except ModelShapleyError as error:
        problem = empty_states.failure(error)
    try:
        return cards(await api.send(client.tasks())), problem
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)


callbacks.include(task_editor.callbacks, task_preview.callbacks)


def cards(tasks: list[TaskInfo]) -> Any:
    """One's own first, since they are what one comes back for."""
    own = [task for task in tasks if task.own]
    return dmc.Stack([_card(task) for task in [*own, *(task for task in tasks if not task.own)]], gap="sm")


def _card(task: TaskInfo) -> Any:
    badges = [dmc.Badge(formatting.KINDS_OF_TASK[task.kind], color="gray", variant="light", size="sm")]
    if task.own:
        badges.append(dmc.Badge("yours", color="blue", variant="light", size="sm"))
    facts = [task.id, f"from {task.source}" if task.source else "", formatting.examples(task)]
    classes = f"classes: {task.classes}" if task.classes else ""
    return dmc.Paper(
        html.Div(
            [
                html.Div(
                    [
                        dmc.Group([html.B(task.title), *badges], gap="sm"),
                        html.Div(task.summary) if task.summary else None,
                        html.Div(" · ".join(filter(None, [*facts, classes])), className="quiet"),
                    ],
                    className="task-text",
                ),
                dmc.Group(_buttons(task), gap="xs", className="task-buttons"),
            ],
            className="task-card",
        ),
        withBorder=True,
        p="md",
        radius="md",
        id=f"task-{task.id}",
    )


def _buttons(task: TaskInfo) -> list[Any]:
    def button(label: str, kind: str, **more: Any) -> Any:
        said = {"aria-label": f"{label}: {task.title}"}
        return dmc.Button(label, id={"type": kind, "task": task.id}, size="xs", **more, **said)

    found = [button("Preview", "look", variant="light")]
    if task.id not in MADE_BY_CODE:
        found.append(button("Start from this", "base-task", variant="default"))
    if task.own:
        found.append(button("Delete", "drop-task", variant="default"))
    return found
