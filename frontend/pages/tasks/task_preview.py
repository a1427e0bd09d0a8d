"""Look at a task before a run: a worker reads its data, the page asks until it has."""

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
from modelshapley.contracts.task_file import parse
from modelshapley.contracts.tasks import TaskCheck, TaskCheckRequest
from modelshapley.errors import KINDS_OF_MODEL, ModelShapleyError
from modelshapley.tasks.infos import KINDS

callbacks = Callbacks()

TICK_MS = 600
NO_MODEL = "none"


def layout(task: str | None, model: str | None) -> Any:
    """The preview, closed; of `task` as `model` reads it, where the address names one."""
    first = {"task": task, "model": model} if task else None
    return html.Div(
        [
            dcc.Store(id="look-subject", data=first),
            dcc.Store(id="look-check"),
            dcc.Store(id="look-seen"),
            dcc.Interval(id="look-tick", interval=TICK_MS, disabled=True),
            dmc.Modal(
                [
                    dmc.Group(
                        [
                            dmc.Select(
                                id="look-model",
                                label="As read by",
                                data=[],
                                allowDeselect=False,
                                w=420,
                                comboboxProps={"zIndex": 400},
                            ),
                            dmc.Button("Read the data again", id="look-again", variant="default"),
                            dmc.Button("Add task", id="look-add", ml="auto"),
                        ],
                        align="flex-end",
                        mb="md",
                    ),
                    html.Div(id="look-body", role="status", style={"minHeight": 320}),
                ],
                id="look-dialog",  # Mantine makes ids of its own from this: look-dialog-body
                withinPortal=False,  # outside of <main> its header would be a second banner
                title="Preview",
                opened=False,
                size="70rem",
                closeButtonProps={"aria-label": "Close the preview"},
            ),
        ]
    )


@callbacks.server(
    Output("look-subject", "data"),
    Input({"type": "look", "task": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def choose_subject(clicks: list[int | None]) -> Any:
    # A list that has just been drawn fires too.
    if not ctx.triggered or not ctx.triggered[0]["value"]:
        return no_update
    return {"task": ctx.triggered_id["task"], "click": ctx.triggered[0]["value"]}


@callbacks.server(
    Output("look-dialog", "opened"),
    Output("look-dialog", "title"),
    Output("look-model", "data"),
    Output("look-model", "value"),
    Output("look-add", "style"),
    Output("look-check", "data"),
    Output("look-body", "children"),
    Output("task-refused", "data"),
    Input("look-subject", "data"),
    Input("look-model", "value"),
    Input("look-again", "n_clicks"),
)
async def request_preview(subject: Any, model: str | None, _: int | None, *, api: AsyncClient) -> Any:
    stay = [no_update] * 8
    chosen_here = ctx.triggered_id in ("look-model", "look-again")
    if subject is None or (chosen_here and model is None):
        return stay
    try:
        title, options = await _known(api, subject)
        if not chosen_here:
            model = _chosen(subject, options)
        check = await api.send(client.check_task(_request(subject, model)))
    except ModelShapleyError as error:
        if (refused := refusal(error, subject)) is not None:
            return [*stay[:7], refused]
        return [True, "Preview", [], None, {"display": "none"}, None, empty_states.failure(error), no_update]
    hidden = {} if "file" in subject else {"display": "none"}
    body = task_view.waiting(Status.QUEUED, None)
    return [True, f"Preview of {title}", options, model, hidden, check.id, body, None]


@callbacks.server(
    Output("look-body", "children", allow_duplicate=True),
    Output("look-seen", "data"),
    Input("look-tick", "n_intervals"),
    State("look-check", "data"),
    State("look-seen", "data"),
    prevent_initial_call=True,
)
async def poll_preview(_: int, check_id: str | None, seen: str | None, *, api: AsyncClient) -> Any:
    if check_id is None or seen == f"{check_id} ended":
        return no_update, no_update
    try:
        check = await api.send(client.task_check(check_id))
        workers = await _workers(api, check)
    except ModelShapleyError as error:
        return empty_states.failure(error), f"{check_id} ended" if isinstance(error, ApiError) else None
    now = f"{check_id} {'ended' if check.status.ended else f'{check.status} {workers}'}"
    return (no_update, no_update) if now == seen else (task_view.view(check, workers), now)


callbacks.browser("tasks", "watch", Output("look-tick", "disabled"), Input("look-dialog", "opened"))


def refusal(error: ModelShapleyError, subject: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the server says against a task that is not added yet, for its form; None for any other error."""
    if not isinstance(error, ApiError) or "file" not in subject or not error.problem.errors:
        return None
    fields = [(entry.field.removeprefix("file."), entry.message) for entry in error.problem.errors]
    return {"fields": fields, "click": subject.get("click")}


async def _workers(api: AsyncClient, check: TaskCheck) -> int | None:
    return (await api.send(client.health())).workers if check.status is Status.QUEUED else None


async def _known(api: AsyncClient, subject: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """The task's title, and what can read it: its data alone, or one of the models that it is for."""
    if "file" in subject:
        title = subject["file"].get("title") or subject["file"]["name"]
        auto_class = KINDS[subject["file"]["kind"]][1]
    else:
        info = await api.send(client.task(subject["task"]))
        title, auto_class = info.title, info.auto_class
    models = [m for m in await api.send(client.models()) if m.usable and m.auto_class == auto_class]
    wanted = KINDS_OF_MODEL.get(auto_class, auto_class)
    alone = "No model: the data alone" if models else f"No model: the data alone (there is no {wanted[2:]} here)"
    return title, [
        *({"value": m.id, "label": f"{m.title} ({m.id})"} for m in models),
        {"value": NO_MODEL, "label": alone},
    ]


def _chosen(subject: Mapping[str, Any], options: list[dict[str, str]]) -> str:
    values = [option["value"] for option in options]
    return subject["model"] if subject.get("model") in values else values[0]


def _request(subject: Mapping[str, Any], model: str | None) -> TaskCheckRequest:
    named = None if model in (None, NO_MODEL) else model
    if "file" in subject:
        return TaskCheckRequest(file=parse(subject["file"], "of the form"), model=named)
    return TaskCheckRequest(task=subject["task"], model=named)
