"""Where else a model can come from than the list: the Hugging Face hub, or one's own disk."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import ModelInfo
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()


def layout(hub: bool) -> Any:
    """hub: whether the server takes models from there. The form of the upload is built by assets/upload.js."""
    upload = html.Details(
        [html.Summary("Upload a model"), html.Div(id="upload-box", className="upload")],
        className="section",
        id="upload-section",
    )
    return html.Div([_hub() if hub else None, upload], className="model-sources")


def _hub() -> Any:
    return html.Details(
        [
            html.Summary("Take one from the Hugging Face hub"),
            html.Div(
                [
                    dmc.TextInput(
                        id="form-hub",
                        label="Model on the hub",
                        description="OWNER/NAME, or OWNER/NAME@REVISION. Only safetensors and texts are fetched.",
                        inputProps={"maxLength": 200},
                        spellCheck=False,
                    ),
                    dmc.Button("Look it up", id="form-hub-look", variant="default"),
                    html.Div(id="form-hub-answer", role="status"),
                ],
                className="upload",
            ),
        ],
        className="section",
        id="hub-section",
    )


def choices(models: list[ModelInfo]) -> list[dict[str, Any]]:
    """The list of models; those that cannot be used are in it, so that one sees why."""
    return [
        {
            "value": model.id,
            "label": f"{model.title} ({model.id})" if model.usable else f"{model.id}: cannot be used",
            "disabled": not model.usable,
        }
        for model in models
    ]


@callbacks.server(
    Output("known", "data"),
    Output("form-model", "data"),
    Output("form-model", "value"),
    Output("form-hub-answer", "children"),
    Input("form-hub-look", "n_clicks"),
    Input("form-hub", "n_submit"),
    State("form-hub", "value"),
    State("known", "data"),
    prevent_initial_call=True,
    running=[(Output("form-hub-look", "loading"), True, False)],
)
async def look_up_hub_model(
    clicks: int | None, submits: int | None, name: str | None, known: Any, *, api: AsyncClient
) -> Any:
    stay = [no_update] * 3
    if not (clicks or submits):
        return *stay, no_update
    if not (name or "").strip():
        return *stay, dmc.Text("Name a model: OWNER/NAME.", c="red", size="sm")
    try:
        found = await api.send(client.hub_model(str(name).strip().removeprefix("hub:")))
    except ApiError as error:
        return *stay, dmc.Text(error.problem.detail, c="red", size="sm")
    except ModelShapleyError as error:
        return *stay, empty_states.failure(error)
    others = [model for model in known["models"] if model["id"] != found.id]
    models = [*others, found.model_dump(mode="json")]
    told = f"{found.title}, chosen above. Its weights are fetched when it is scored."
    listed = choices([ModelInfo.model_validate(model) for model in models])
    return known | {"models": models}, listed, found.id, html.Div(told, className="quiet")
