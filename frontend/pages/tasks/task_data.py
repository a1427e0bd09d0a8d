"""Data for a new task: an upload, and what is in it, as choices for the fields of the form."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, dcc, html, no_update

from frontend.pages.shared import empty_states, tables
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.tasks.columns import COLUMN_FIELDS, HALVES, TEMPLATES, fill_form, is_unsplit
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Dataset
from modelshapley.errors import ModelShapleyError
from modelshapley.formatting import bytes_as_text
from modelshapley.tasks.uploaded.names import FOLDER

callbacks = Callbacks()

MAX_CHIPS, MAX_LISTED = 24, 12
FORM = {"type": "task-field", "field": ALL}
PATH = {
    "type": "task-field",
    "field": "source.path",
}  # never an output: Dash 4.4 cannot parse an output's id with a dot


def layout() -> Any:
    """Lay out the upload, which assets/upload-data.js builds, and the place for what is in the data."""
    return html.Div(
        [
            html.Div(id="data-box", className="upload data-upload"),
            dcc.Store(id="data-uploaded"),
            html.Div(id="data-about", role="status"),
        ]
    )


def insertions(field: str) -> Any:
    """Return the place for the buttons that put a column into a field with {column}."""
    return html.Div(id={"type": "insertions", "field": field}, className="insertions")


@callbacks.server(
    Output(FORM, "value", allow_duplicate=True),
    Output("data-about", "children", allow_duplicate=True),
    Input("data-uploaded", "data"),
    State(FORM, "value"),
    State(FORM, "id"),
    prevent_initial_call=True,
)
async def use_uploaded(uploaded: str | None, inputs: list[Any], ids: list[Any], *, api: AsyncClient) -> Any:
    """Fill the form in from data that were just uploaded."""
    if not uploaded:
        return [no_update] * len(ids), no_update
    name = uploaded.partition(" ")[0]
    try:
        dataset = await api.send(client.dataset(name))
    except ModelShapleyError as error:
        return [no_update] * len(ids), empty_states.failure(error)
    filled = fill_form({entry["field"]: value for entry, value in zip(ids, inputs, strict=True)}, dataset)
    return [filled[entry["field"]] for entry in ids], no_update


@callbacks.server(
    Output("data-about", "children"),
    *(Output({"type": "task-field", "field": field}, "data") for field in COLUMN_FIELDS),
    *(Output({"type": "insertions", "field": field}, "children") for field in TEMPLATES),
    Input(PATH, "value"),
)
async def describe_data(path: str | None, *, api: AsyncClient) -> Any:
    """Show what is in uploaded data, and offer their columns."""
    dataset = None
    folder, _, name = (path or "").partition("/")
    if folder == FOLDER and name:
        try:
            dataset = await api.send(client.dataset(name))
        except ApiError:
            pass  # not, or not yet, the name of uploaded data
        except ModelShapleyError as error:
            return empty_states.failure(error), *([] for _ in (*COLUMN_FIELDS, *TEMPLATES))
    if dataset is None:
        return None, *([] for _ in (*COLUMN_FIELDS, *TEMPLATES))
    names = [column.name for column in dataset.columns]
    return about(dataset), *(names for _ in COLUMN_FIELDS), *(_chips(field, names) for field in TEMPLATES)


for _field in TEMPLATES:
    callbacks.browser(
        "tasks",
        "insert",
        Output({"type": "task-field", "field": _field}, "value", allow_duplicate=True),
        Input({"type": "insert-column", "field": _field, "column": ALL}, "n_clicks"),
        State({"type": "task-field", "field": _field}, "value"),
        prevent_initial_call=True,
    )


def about(dataset: Dataset) -> Any:
    """Describe uploaded data: their size, classes, and the first rows."""
    noun = "pictures" if dataset.form == "pictures" else "rows"
    parts = [f"{split.rows:,} {noun}{f' in {split.name}' if split.name != 'all' else ''}" for split in dataset.splits]
    if dataset.classes:
        names = ", ".join(dataset.classes[:MAX_LISTED])
        parts.append(f"{len(dataset.classes)} classes: {names}{' …' if len(dataset.classes) > MAX_LISTED else ''}")
    parts.append(bytes_as_text(dataset.bytes))
    lines = [html.Div([html.B(dataset.name), ": ", " · ".join(parts)])]
    if dataset.left_out:
        lines.append(html.Div(f"Left out, as they are no pictures: {', '.join(dataset.left_out[:MAX_LISTED])}"))
    if is_unsplit(dataset):
        lines.append(html.Div(HALVES, className="quiet"))
    return html.Div([*lines, _first_rows(dataset)], className="data-about")


def _first_rows(dataset: Dataset) -> Any:
    names = [column.name for column in dataset.columns][:MAX_CHIPS]
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh(name) for name in names]))
    rows = [dmc.TableTr([tables.labelled(row.get(name, ""), name, "") for name in names]) for row in dataset.first]
    table = dmc.Table(
        [dmc.TableCaption("First rows"), head, dmc.TableTbody(rows)], verticalSpacing=4, className=tables.CARDS
    )
    return html.Div(
        table, className="first-rows", tabIndex=0, role="region", **{"aria-label": "First rows of the data"}
    )


def _chips(field: str, names: list[str]) -> Any:
    if not names:
        return []
    chips = [
        html.Button(
            f"{{{name}}}",
            id={"type": "insert-column", "field": field, "column": name},
            type="button",
            className="column-chip",
            **{"aria-label": f"Insert {{{name}}} into this field"},
        )
        for name in names[:MAX_CHIPS]
    ]
    return [html.Span("Insert: ", className="quiet"), *chips]
