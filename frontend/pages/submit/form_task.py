"""The task in the submit form: the list, with those for the model first, and a description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update

from frontend.links import link
from frontend.pages.shared.wiring import Callbacks
from modelshapley import formatting
from modelshapley.contracts import ModelInfo
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.errors import KINDS_OF_MODEL

callbacks = Callbacks()

HIDDEN = {"display": "none"}


def layout(tasks: Sequence[TaskInfo], model: ModelInfo | None, task: str | None) -> list[Any]:
    """Lay out the list, the description, and the choice of a map per class."""
    chosen = next((info for info in tasks if info.id == task), None)
    return [
        dmc.Select(
            id="form-task",
            label="Task",
            data=options(tasks, model.auto_class if model else None),
            value=task,
            allowDeselect=False,
            searchable=True,
        ),
        html.Div(about(chosen, model.id if model else None), id="form-task-about", className="quiet"),
        html.Div(
            dmc.Checkbox(id="form-per-class", label=per_class(chosen), checked=False),
            id="form-classes",
            style={} if chosen and chosen.classes else HIDDEN,
        ),
    ]


@callbacks.server(
    Output("form-task", "value"),
    Output("form-task", "data"),
    Input("form-model", "value"),
    State("form-task", "value"),
    State("known", "data"),
    prevent_initial_call=True,
)
async def offer_fitting_tasks(model: str, task: str, known: Any) -> Any:
    """Sort the tasks by the model; replace the selected one if it is for other models."""
    auto_class = next((m["auto_class"] for m in known["models"] if m["id"] == model), None)
    tasks = [TaskInfo.model_validate(t) for t in known["tasks"]]
    fitting = [t.id for t in tasks if t.auto_class == auto_class]
    return no_update if task in fitting or not fitting else fitting[0], options(tasks, auto_class)


@callbacks.server(
    Output("form-task-about", "children"),
    Output("form-per-class", "label"),
    Output("form-classes", "style"),
    Input("form-task", "value"),
    Input("form-model", "value"),
    State("known", "data"),
)
async def describe_task(task: str | None, model: str | None, known: Any) -> Any:
    """Describe the selected task."""
    chosen = next((TaskInfo.model_validate(t) for t in known["tasks"] if t["id"] == task), None)
    return about(chosen, model), per_class(chosen), {} if chosen and chosen.classes else HIDDEN


def options(tasks: Sequence[TaskInfo], auto_class: str | None) -> list[dict[str, Any]]:
    """Return the options in two groups: tasks for this kind of model, and others."""
    fitting = [task for task in tasks if task.auto_class == auto_class]
    others = [task for task in tasks if task.auto_class != auto_class]
    kind = KINDS_OF_MODEL.get(str(auto_class), "this model")
    groups = [(f"For {kind}", fitting), ("For other models", others)]
    return [
        {"group": title, "items": [{"value": task.id, "label": task.title} for task in members]}
        for title, members in groups
        if members
    ]


def about(task: TaskInfo | None, model: str | None) -> list[Any]:
    """Describe a task and its data, with a link to the preview."""
    if task is None:
        return []
    facts = [
        formatting.KINDS_OF_TASK[task.kind],
        f"from {task.source}" if task.source else "",
        formatting.examples(task),
    ]
    query = urlencode({"preview": task.id} | ({"model": model} if model else {}))
    return [
        html.Div(task.summary) if task.summary else None,
        html.Div([" · ".join(filter(None, facts)), ". ", dcc.Link("Preview", href=link(f"/tasks?{query}"))]),
    ]


def per_class(task: TaskInfo | None) -> str:
    """Return the label of the choice of a map per class."""
    return f"Also a map for each class ({task.classes})" if task and task.classes else "Also a map for each class"
