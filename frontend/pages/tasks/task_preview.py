"""The preview of a task: a worker reads its data, and the page polls for the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.tasks import task_view
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Status
from modelshapley.contracts.task_files.descriptions import TaskCheck, TaskCheckRequest
from modelshapley.contracts.task_files.file import parse
from modelshapley.errors import KINDS_OF_MODEL, ModelShapleyError
from modelshapley.tasks.infos import KINDS

callbacks = Callbacks()

TICK_MS = 600
NO_MODEL = "none"


def layout(task: str | None, model: str | None) -> Any:
    """Lay out the closed preview; if the address names a task, it opens with it, as read by `model`."""
    first = {"task": task, "model": model} if task else None
    return html.Div(
        [
            dcc.Store(id="preview-subject", data=first),
            dcc.Store(id="preview-check"),
            dcc.Store(id="preview-seen"),
            dcc.Interval(id="preview-tick", interval=TICK_MS, disabled=True),
            dmc.Modal(
                [
                    dmc.Group(
                        [
                            dmc.Select(
                                id="preview-model",
                                label="Read by",
                                data=[],
                                allowDeselect=False,
                                w=420,
                                comboboxProps={"zIndex": 400},
                            ),
                            dmc.Button("Read again", id="preview-again", variant="default"),
                            dmc.Button("Add task", id="preview-add", ml="auto"),
                        ],
                        align="flex-end",
                        mb="md",
                    ),
                    html.Div(id="preview-body", role="status", style={"minHeight": 320}),
                ],
                id="preview-dialog",  # Mantine derives other ids from this one, such as preview-dialog-body
                withinPortal=False,  # outside <main> its header would be a second banner for screen readers
                title="Preview",
                opened=False,
                size="70rem",
                closeButtonProps={"aria-label": "Close the preview"},
            ),
        ]
    )


@callbacks.server(
    Output("preview-subject", "data"),
    Input({"type": "preview-task", "task": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def choose_subject(_: list[int | None]) -> Any:
    """Open the preview of a task of the list."""
    # A button fires when it is drawn, too.
    if not ctx.triggered or not ctx.triggered[0]["value"]:
        return no_update
    return {"task": ctx.triggered_id["task"], "click": ctx.triggered[0]["value"]}


@callbacks.server(
    Output("preview-dialog", "opened"),
    Output("preview-dialog", "title"),
    Output("preview-model", "data"),
    Output("preview-model", "value"),
    Output("preview-add", "style"),
    Output("preview-check", "data"),
    Output("preview-body", "children"),
    Output("task-refusal", "data"),
    Input("preview-subject", "data"),
    Input("preview-model", "value"),
    Input("preview-again", "n_clicks"),
)
async def request_preview(subject: Any, model: str | None, _: int | None, *, api: AsyncClient) -> Any:
    """Ask for a preview, and open the dialog; objections to a new task are shown in its form."""
    unchanged = [no_update] * 8
    in_dialog = ctx.triggered_id in ("preview-model", "preview-again")
    if subject is None or (in_dialog and model is None):
        return unchanged
    try:
        title, options = await _title_and_models(api, subject)
        if not in_dialog:
            model = _initial_model(subject, options)
        check = await api.send(client.check_task(_request(subject, model)))
    except ModelShapleyError as error:
        if (objections := refusal(error, subject)) is not None:
            return [*unchanged[:7], objections]
        return [True, "Preview", [], None, {"display": "none"}, None, empty_states.failure(error), no_update]
    add_button = {} if "file" in subject else {"display": "none"}
    body = task_view.waiting(Status.QUEUED, None)
    return [True, f"Preview of {title}", options, model, add_button, check.id, body, None]


@callbacks.server(
    Output("preview-body", "children", allow_duplicate=True),
    Output("preview-seen", "data"),
    Input("preview-tick", "n_intervals"),
    State("preview-check", "data"),
    State("preview-seen", "data"),
    State("preview-subject", "data"),
    prevent_initial_call=True,
)
async def poll_preview(_: int, check_id: str | None, seen: str | None, subject: Any, *, api: AsyncClient) -> Any:
    """Show the preview as soon as a worker has read the data."""
    if check_id is None or seen == f"{check_id} ended":
        return no_update, no_update
    try:
        check = await api.send(client.task_check(check_id))
        workers = await _workers(api, check)
    except ModelShapleyError as error:
        return empty_states.failure(error), f"{check_id} ended" if isinstance(error, ApiError) else None
    key = f"{check_id} {'ended' if check.status.ended else f'{check.status} {workers}'}"
    if key == seen:
        return no_update, no_update
    return task_view.view(check, workers, editable=bool(subject and "file" in subject)), key


callbacks.browser("tasks", "watch", Output("preview-tick", "disabled"), Input("preview-dialog", "opened"))


def refusal(error: ModelShapleyError, subject: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the server's objections to a task that is being edited, by field; None for any other error."""
    if not isinstance(error, ApiError) or "file" not in subject or not error.problem.errors:
        return None
    fields = [(entry.field.removeprefix("file."), entry.message) for entry in error.problem.errors]
    return {"fields": fields, "click": subject.get("click")}


async def _workers(api: AsyncClient, check: TaskCheck) -> int | None:
    return (await api.send(client.health())).workers if check.status is Status.QUEUED else None


async def _title_and_models(api: AsyncClient, subject: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """Return the task's title, and the options to read it with: the models it is for, or none."""
    if "file" in subject:
        title = subject["file"].get("title") or subject["file"]["name"]
        auto_class = KINDS[subject["file"]["kind"]][1]
    else:
        info = await api.send(client.task(subject["task"]))
        title, auto_class = info.title, info.auto_class
    models = [m for m in await api.send(client.models()) if m.usable and m.auto_class == auto_class]
    kind = KINDS_OF_MODEL.get(auto_class, auto_class).removeprefix("a ")
    without = "No model, data only" if models else f"No model, data only (there is no {kind})"
    return title, [
        *({"value": m.id, "label": f"{m.title} ({m.id})"} for m in models),
        {"value": NO_MODEL, "label": without},
    ]


def _initial_model(subject: Mapping[str, Any], options: list[dict[str, str]]) -> str:
    values = [option["value"] for option in options]
    return subject["model"] if subject.get("model") in values else values[0]


def _request(subject: Mapping[str, Any], model: str | None) -> TaskCheckRequest:
    named = None if model in (None, NO_MODEL) else model
    if "file" in subject:
        return TaskCheckRequest(file=parse(subject["file"], "of the form"), model=named)
    return TaskCheckRequest(task=subject["task"], model=named)
