"""A table that maps the classes of a new task's data to the model's, in the preview of the task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, html, no_update

from frontend.pages.shared import tables
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.tasks.task_form import lines_of_mapping, validate_text
from modelshapley.contracts.task_files.descriptions import Labels
from modelshapley.contracts.task_files.file import parse, to_yaml

callbacks = Callbacks()

MOST_MAPPED = 60  # classes; more are better written in a task file
CHOICE = {"type": "mapped-class", "name": ALL}


def table(labels: Labels) -> Any:
    """Lay out a choice among the model's classes for each class of the data."""
    if len(labels.data) > MOST_MAPPED:
        return html.P("Map them in the task file: labels: {class in the data: class of the model}.", className="quiet")
    options = [{"value": str(number), "label": name} for number, name in enumerate(labels.model)]
    return dmc.Stack(
        [
            pairs([(name, _choice(name, options)) for name in labels.data], "mapping"),
            dmc.Button("Use this mapping", id="use-mapping", variant="light", w="fit-content"),
            html.Div(id="mapping-problem", role="alert"),
        ],
        gap="sm",
        mt="md",
    )


def pairs(rows: Sequence[tuple[str, Any]], css: str = "") -> Any:
    """Lay out classes of the data beside what belongs to them in the model."""
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh("In the data"), dmc.TableTh("In the model")]))
    body = [dmc.TableTr([dmc.TableTd(name), tables.labelled(other, "In the model", "")]) for name, other in rows]
    return dmc.Table([head, dmc.TableTbody(body)], className=f"{tables.CARDS} {css}")


def _choice(name: str, options: Sequence[dict[str, str]]) -> Any:
    return dmc.Select(
        id={"type": "mapped-class", "name": name},
        data=options,
        placeholder="Choose a class",
        searchable=len(options) > 12,
        comboboxProps={"zIndex": 400},
        **{"aria-label": f"The model's class for {name}"},
    )


@callbacks.server(
    Output("preview-subject", "data", allow_duplicate=True),
    Output({"type": "task-field", "field": "labels"}, "value"),
    Output("task-text", "value", allow_duplicate=True),
    Output("mapping-problem", "children"),
    Input("use-mapping", "n_clicks"),
    State(CHOICE, "value"),
    State(CHOICE, "id"),
    State("preview-subject", "data"),
    State("task-tab", "value"),
    State("task-text", "value"),
    prevent_initial_call=True,
)
async def use_mapping(
    clicks: int | None, chosen: list[str | None], ids: list[dict[str, str]], subject: Any, tab: str, text: str
) -> Any:
    """Write the mapping into the task that is edited, and read its data again."""
    if not clicks or subject is None:
        return no_update, no_update, no_update, no_update
    missing = [entry["name"] for entry, value in zip(ids, chosen, strict=True) if value is None]
    if missing:
        problem = f"Choose the model's class for {', '.join(missing[:3])}."
        return no_update, no_update, no_update, dmc.Text(problem, c="red", size="sm")
    mapping = {entry["name"]: str(value) for entry, value in zip(ids, chosen, strict=True)}
    file = {**subject["file"], "labels": mapping}
    again = {"file": file, "click": f"mapping {clicks} {json.dumps(mapping)}"}
    if tab == "form":
        return again, lines_of_mapping(mapping), no_update, None
    spec = (await asyncio.to_thread(validate_text, text))[0]
    if spec is None:  # the text was changed behind the dialog
        return again, no_update, no_update, None
    return again, no_update, to_yaml(parse(file, "of this text")), None
