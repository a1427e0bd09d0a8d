"""The tasks page: the list of tasks, and an editor to add one."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.tasks import label_mapping, task_data, task_editor, task_preview
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()

WITHOUT_FILE = ("digits", "world-capitals")  # built by code, so there is no task file to start from


async def layout(api: AsyncClient, search: str) -> Any:
    """Lay out the list on the left, the editor on the right; `?preview=NAME&model=ID` opens a preview."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    tasks, datasets = await api.send(client.tasks()), await api.send(client.datasets())
    return html.Div(
        [
            html.Section(
                [
                    dmc.Title("Tasks", order=1, size="h2", mb="xs"),
                    html.P(
                        "A task is a set of examples with correct answers. Preview a task before you score a model on "
                        "it, or add your own data.",
                        className="quiet",
                    ),
                    html.Div(id="tasks-problem", role="alert"),
                    html.Div(cards(tasks), id="tasks-list"),
                    dcc.Store(id="tasks-delete"),
                    dcc.ConfirmDialog(id="tasks-confirm"),
                ]
            ),
            html.Aside(task_editor.layout(datasets)),
            task_preview.layout(query.get("preview"), query.get("model")),
        ],
        className="runs-grid tasks-grid",
    )


@callbacks.server(
    Output("tasks-delete", "data"),
    Output("tasks-confirm", "message"),
    Output("tasks-confirm", "displayed"),
    Input({"type": "delete-task", "task": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def confirm_deletion(_: list[int | None]) -> Any:
    """Ask before a task is deleted."""
    if not ctx.triggered or not ctx.triggered[0]["value"]:
        return no_update, no_update, no_update
    name = ctx.triggered_id["task"]
    return name, f"Delete the task {name}? Its data files are kept.", True


@callbacks.server(
    Output("tasks-list", "children"),
    Output("tasks-problem", "children"),
    Input("task-added", "data"),
    Input("tasks-confirm", "submit_n_clicks"),
    State("tasks-delete", "data"),
    prevent_initial_call=True,
)
async def refresh_tasks(added: str | None, confirmed: int | None, name: str | None, *, api: AsyncClient) -> Any:
    """Delete a task once that is confirmed, and list the tasks again."""
    if ctx.triggered_id is None or (added is None and confirmed is None):
        return no_update, no_update
    problem = None
    try:
        if ctx.triggered_id == "tasks-confirm" and name is not None:
            await api.send(client.drop_task(name))
    except ModelShapleyError as error:
        problem = empty_states.failure(error)
    try:
        return cards(await api.send(client.tasks())), problem
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)


callbacks.include(task_editor.callbacks, task_data.callbacks, task_preview.callbacks, label_mapping.callbacks)


def cards(tasks: list[TaskInfo]) -> Any:
    """A card for each task, those added by users first."""
    own = [task for task in tasks if task.own]
    return dmc.Stack([_card(task) for task in [*own, *(task for task in tasks if not task.own)]], gap="sm")


def _card(task: TaskInfo) -> Any:
    badges = [dmc.Badge(formatting.KINDS_OF_TASK[task.kind], color="gray", variant="light", size="sm")]
    if task.own:
        badges.append(dmc.Badge("custom", color="blue", variant="light", size="sm"))
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
    def button(label: str, kind: str, variant: str) -> Any:
        name = {"aria-label": f"{label}: {task.title}"}
        return dmc.Button(label, id={"type": kind, "task": task.id}, size="xs", variant=variant, **name)

    buttons = [button("Preview", "preview-task", "light")]
    if task.id not in WITHOUT_FILE:
        buttons.append(button("Use as template", "base-task", "default"))
    if task.own:
        buttons.append(button("Delete", "delete-task", "default"))
    return buttons
