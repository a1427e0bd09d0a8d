"""The model in the submit form: the list, the Hugging Face hub, an upload."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import ModelInfo
from modelshapley.errors import ModelShapleyError
from modelshapley.models import hub

callbacks = Callbacks()


def layout(hub: bool) -> Any:
    """Lay out the sources besides the list. hub: whether the server loads from the hub. assets/upload.js builds the
    upload form."""
    upload = html.Details(
        [html.Summary("Upload a model"), html.Div(id="upload-box", className="upload")],
        className="section",
        id="upload-section",
    )
    return html.Div([dcc.Store(id="form-uploaded"), _hub() if hub else None, upload], className="model-sources")


def _hub() -> Any:
    return html.Details(
        [
            html.Summary("Load from Hugging Face"),
            html.Div(
                [
                    dmc.TextInput(
                        id="form-hub",
                        label="Model on the hub",
                        description="owner/name, or owner/name@revision. Downloads safetensors and text files only.",
                        inputProps={"maxLength": 200},
                        spellCheck=False,
                    ),
                    dmc.Button("Look up", id="form-hub-look-up", variant="default"),
                    html.Div(id="form-hub-answer", role="status"),
                ],
                className="upload",
            ),
        ],
        className="section",
        id="hub-section",
    )


def choices(models: list[ModelInfo]) -> list[dict[str, Any]]:
    """Return the options of the list; models that cannot be used are listed, but disabled."""
    return [
        {
            "value": model.id,
            "label": f"{model.title} ({model.id})" if model.usable else f"{model.id}: cannot be used",
            "disabled": not model.usable,
        }
        for model in models
    ]


@callbacks.server(
    Output("known", "data", allow_duplicate=True),
    Output("form-model", "data", allow_duplicate=True),
    Output("form-model", "value", allow_duplicate=True),
    Input("form-uploaded", "data"),
    State("known", "data"),
    prevent_initial_call=True,
)
async def choose_uploaded(model_id: str, known: Any, *, api: AsyncClient) -> Any:
    """Add a model that was just uploaded (assets/upload.js) to the list, and select it."""
    try:
        models = await api.send(client.models())
    except ModelShapleyError:
        return no_update, no_update, no_update  # the link beside the upload opens the form with it
    listed = known | {"models": [model.model_dump(mode="json") for model in models]}
    return listed, choices(models), model_id


@callbacks.server(
    Output("known", "data"),
    Output("form-model", "data"),
    Output("form-model", "value"),
    Output("form-hub-answer", "children"),
    Input("form-hub-look-up", "n_clicks"),
    Input("form-hub", "n_submit"),
    State("form-hub", "value"),
    State("known", "data"),
    prevent_initial_call=True,
    running=[(Output("form-hub-look-up", "loading"), True, False)],
)
async def look_up_hub_model(
    clicks: int | None, submits: int | None, name: str | None, known: Any, *, api: AsyncClient
) -> Any:
    """Look up a hub model, add it to the list, and select it."""
    unchanged = [no_update] * 3
    if not (clicks or submits):
        return *unchanged, no_update
    hub_name = (name or "").strip().removeprefix("hub:")
    if not hub.is_name(hub_name):
        return *unchanged, dmc.Text("Enter a hub model as owner/name.", c="red", size="sm")
    try:
        model = await api.send(client.hub_model(hub_name))
    except ApiError as error:
        return *unchanged, dmc.Text(error.problem.detail, c="red", size="sm")
    except ModelShapleyError as error:
        return *unchanged, empty_states.failure(error)
    others = [other for other in known["models"] if other["id"] != model.id]
    models = [*others, model.model_dump(mode="json")]
    notice = html.Div(f"Selected {model.title}. Its weights are downloaded when it is scored.", className="quiet")
    return known | {"models": models}, choices([ModelInfo.model_validate(m) for m in models]), model.id, notice
