"""The editor of a task: a form with the fields of its kind, or a task file as text."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.links import link
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.tasks import task_data, task_preview
from frontend.pages.tasks.columns import TEMPLATES
from frontend.pages.tasks.task_form import FIELDS, GROUPS, Field, by_field, validate, validate_text, visible_fields
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Dataset
from modelshapley.contracts.task_files.file import TaskFile
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()

# Fields of half the width; two in a row are side by side.
HALF: tuple[str, ...] = (
    "title",
    "source.config",
    "source.revision",
    "probe.split",
    "probe.share",
    "test.split",
)
HALF += ("test.share", "rule", "max_new_tokens", "limit", "seed")
EXAMPLE = """kind: multiple-choice
name: capitals
source: {path: capitals.jsonl}
probe: {split: all, share: 0.5}
test: {split: all, share: 0.5}
prompt: The capital of {country} is
choices_column: cities
key: capital"""
HIDDEN = {"display": "none"}


def layout(datasets: Sequence[Dataset]) -> Any:
    """Lay out the editor with an empty form. datasets: the uploaded data."""
    paths = [dataset.path for dataset in datasets]
    form = [
        dmc.Fieldset(
            [
                task_data.layout() if title == "Data" else None,
                html.Div([_row(field, paths) for field in fields if not field.more], className="task-fields"),
            ],
            legend=title,
            variant="unstyled",
        )
        for title, fields in GROUPS.items()
        if not all(field.more for field in fields)
    ]
    rest = [_row(field, paths) for field in FIELDS.values() if field.more]
    form.append(html.Details([html.Summary("More"), html.Div(rest, className="task-fields")], id="task-more"))
    return dmc.Paper(
        [
            dmc.Title("Add a task", order=2, size="h3", mb="sm"),
            dcc.Store(id="task-attempt"),
            dcc.Store(id="task-refusal"),
            dcc.Store(id="task-added"),
            dmc.Tabs(
                [
                    dmc.TabsList([dmc.TabsTab("Form", value="form"), dmc.TabsTab("Task file", value="file")]),
                    dmc.TabsPanel(dmc.Stack(form, gap="md"), value="form", pt="sm"),
                    dmc.TabsPanel(_file(), value="file", pt="sm"),
                ],
                id="task-tab",
                value="form",
            ),
            html.Div(id="task-problem", role="alert"),
            html.Div(id="task-answer", role="status"),
            dmc.Group(
                [
                    dmc.Button("Preview", id="task-preview", variant="light"),
                    dmc.Button("Add task", id="task-add"),
                ],
                grow=True,
                mt="md",
            ),
        ],
        withBorder=True,
        p="lg",
        radius="md",
    )


def _file() -> Any:
    return dmc.Stack(
        [
            dcc.Upload(
                html.Div("Drop a task file here, or click to choose one.", className="drop"),
                id="task-upload",
                accept=".yaml,.yml,.json",
                max_size=1_000_000,
            ),
            dmc.Textarea(
                id="task-text",
                label="Task file",
                description="YAML or JSON",
                placeholder=EXAMPLE,
                autosize=True,
                minRows=14,
                maxRows=34,
                spellCheck=False,
                styles={"input": {"fontFamily": "var(--mantine-font-family-monospace)", "fontSize": 13}},
            ),
        ],
        gap="sm",
    )


def _row(field: Field, paths: Sequence[str]) -> Any:
    values = {name: other.value for name, other in FIELDS.items()}
    return html.Div(
        [_input(field, paths), task_data.insertions(field.name) if field.name in TEMPLATES else None],
        id={"type": "task-row", "field": field.name},
        className="half" if field.name in HALF else "",
        style={} if field.name in visible_fields(values) else HIDDEN,
    )


def _input(field: Field, paths: Sequence[str]) -> Any:
    common = {"id": {"type": "task-field", "field": field.name}, "label": field.label, "value": field.value}
    if field.help:
        common["description"] = field.help
    if field.sort == "choice":
        data = [{"value": value, "label": label} for value, label in field.choices]
        return dmc.Select(**common, data=data, allowDeselect=False)
    if field.sort in ("area", "lines"):
        return dmc.Textarea(**common, autosize=True, minRows=2, maxRows=12)
    if field.sort == "percent":
        return dmc.NumberInput(**common, min=0, max=100, suffix=" %", clampBehavior="none")
    if field.sort == "number":
        return dmc.NumberInput(**common, min=0, allowDecimal=False, clampBehavior="none")
    if field.sort in ("column", "path"):
        return dmc.Autocomplete(**common, data=list(paths) if field.sort == "path" else [], limit=50)
    return dmc.TextInput(**common)


FORM = {"type": "task-field", "field": ALL}


@callbacks.server(
    Output({"type": "task-row", "field": ALL}, "style"),
    Output(FORM, "error"),
    Output("task-problem", "children"),
    Output("task-text", "error"),
    Input(FORM, "value"),
    Input("task-text", "value"),
    Input("task-tab", "value"),
    Input("task-attempt", "data"),
    Input("task-refusal", "data"),
    State(FORM, "id"),
)
async def validate_task(inputs: list[Any], text: str, tab: str, attempt: Any, refusal: Any, ids: list[Any]) -> Any:
    """Show the problems: ours after the first attempt, the server's until something is changed."""
    values = _values(inputs, ids)
    refused = refusal["fields"] if refusal and "task-refusal" in _triggers() else []
    visible = visible_fields(values)
    styles = [{} if entry["field"] in visible else HIDDEN for entry in ids]
    if tab == "file":
        lines = (await asyncio.to_thread(validate_text, text))[1] if attempt else []
        lines += [f"{field}: {message}" if field else message for field, message in refused]
        return styles, [None] * len(ids), None, _lines(lines)
    own = (await asyncio.to_thread(validate, values))[1] if attempt else {}
    problems = own or by_field([tuple(entry) for entry in refused], values)
    return styles, [problems.get(entry["field"]) for entry in ids], _summary(problems), None


@callbacks.server(
    Output("preview-subject", "data", allow_duplicate=True),
    Output("task-attempt", "data"),
    Input("task-preview", "n_clicks"),
    State("task-tab", "value"),
    State(FORM, "value"),
    State("task-text", "value"),
    State(FORM, "id"),
    prevent_initial_call=True,
)
async def preview_file(clicks: int, tab: str, inputs: list[Any], text: str, ids: list[Any]) -> Any:
    """Open the preview of the task in the editor, or show its problems."""
    spec = await _spec(tab, _values(inputs, ids), text)
    if spec is None:
        return no_update, clicks
    return {"file": json.loads(spec.model_dump_json(exclude_defaults=True)), "click": clicks}, no_update


@callbacks.server(
    Output("task-added", "data"),
    Output("task-answer", "children"),
    Output("task-attempt", "data", allow_duplicate=True),
    Output("task-refusal", "data", allow_duplicate=True),
    Output("preview-dialog", "opened", allow_duplicate=True),
    Input("task-add", "n_clicks"),
    Input("preview-add", "n_clicks"),
    State("task-tab", "value"),
    State(FORM, "value"),
    State("task-text", "value"),
    State(FORM, "id"),
    prevent_initial_call=True,
    running=[(Output("task-add", "loading"), True, False), (Output("preview-add", "loading"), True, False)],
)
async def add_task(
    one: int | None, other: int | None, tab: str, inputs: list[Any], text: str, ids: list[Any], *, api: AsyncClient
) -> Any:
    """Add the task in the editor, or show its problems."""
    clicks = f"{one} {other}"
    spec = await _spec(tab, _values(inputs, ids), text)
    if spec is None:
        return no_update, None, clicks, None, False
    try:
        info = await api.send(client.add_task(spec))
    except ModelShapleyError as error:
        refusal = _refusal(error, clicks)
        return no_update, None if refusal else empty_states.failure(error), no_update, refusal, False
    notice = [f"Added {info.title}. ", dcc.Link("Score a model on it", href=link(f"/new?task={info.id}"))]
    return f"{info.id} {clicks}", dmc.Alert(notice, color="teal", variant="light", mt="md"), None, None, False


@callbacks.server(
    Output("task-text", "value"),
    Output("task-answer", "children", allow_duplicate=True),
    Input("task-upload", "contents"),
    State("task-upload", "filename"),
    prevent_initial_call=True,
)
async def read_upload(contents: str | None, name: str) -> Any:
    """Put an uploaded task file into the editor."""
    if contents is None:
        return no_update, no_update
    try:
        return base64.b64decode(contents.partition(",")[2]).decode(), None
    except (binascii.Error, UnicodeDecodeError):
        problem = f"{name} is not a UTF-8 text file. Save it as UTF-8 and drop it again."
        return no_update, dmc.Alert(problem, color="red", variant="light", mt="md")


@callbacks.server(
    Output("task-text", "value", allow_duplicate=True),
    Output("task-tab", "value"),
    Output("task-answer", "children", allow_duplicate=True),
    Input({"type": "base-task", "task": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def start_from_task(_: list[int | None], *, api: AsyncClient) -> Any:
    """Put the file of an existing task into the editor."""
    if not ctx.triggered or not ctx.triggered[0]["value"]:
        return no_update, no_update, no_update
    try:
        return await api.send(client.task_file(ctx.triggered_id["task"])), "file", None
    except ModelShapleyError as error:
        return no_update, no_update, empty_states.failure(error)


callbacks.browser("tasks", "label", Output("task-upload", "className"), Input("task-tab", "value"))


callbacks.browser(
    "tasks",
    "focusInvalid",
    Output("task-problem", "className"),
    Input("task-attempt", "data"),
    Input("task-refusal", "data"),
    prevent_initial_call=True,
)


# On narrow screens the editor is below the list, out of sight.
callbacks.browser(
    "tasks",
    "reveal",
    Output("task-tab", "className"),
    Input({"type": "base-task", "task": ALL}, "n_clicks"),
    prevent_initial_call=True,
)


def _refusal(error: ModelShapleyError, clicks: str) -> dict[str, Any] | None:
    """Return the server's objections by field; a name that is taken belongs to the name."""
    if isinstance(error, ApiError) and error.problem.status == 409:
        return {"fields": [("name", error.problem.detail)], "click": clicks}
    return task_preview.refusal(error, {"file": {}, "click": clicks})


def _triggers() -> set[str]:
    return {str(entry["prop_id"]).rpartition(".")[0] for entry in ctx.triggered}


def _values(inputs: Sequence[Any], ids: Sequence[dict[str, str]]) -> dict[str, Any]:
    return {entry["field"]: value for entry, value in zip(ids, inputs, strict=True)}


async def _spec(tab: str, values: dict[str, Any], text: str) -> TaskFile | None:
    """Parse the task in a thread, because a pasted text can be long."""
    if tab == "file":
        return (await asyncio.to_thread(validate_text, text))[0]
    return (await asyncio.to_thread(validate, values))[0]


def _lines(lines: Sequence[str]) -> Any:
    return [html.Span(line, className="line") for line in lines] or None


def _summary(problems: dict[str, str]) -> Any:
    """The problem that belongs to no visible field, or a note that fields above have problems."""
    if not problems:
        return None
    text = problems.get("") or "Some fields above are not valid."
    return dmc.Text(text, c="red", size="sm", mt="sm")
