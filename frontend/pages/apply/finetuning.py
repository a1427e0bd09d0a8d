"""The form that fine-tunes chosen units of a run's model."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, html, no_update

from frontend.pages.apply import units_form
from frontend.pages.apply.naming import name_input, named
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, Run
from modelshapley.contracts.applications.finetuning import PAPER, FinetuneSettings
from modelshapley.contracts.applications.requests import FinetuneRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

callbacks = Callbacks()
TRAINABLE = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER, UnitKind.ROW)
PRESETS = {"short": FinetuneSettings(), "paper": PAPER}
CONTROLS = {"random": "As many random units", "lora": "LoRA", "full": "All parameters"}


def form(run: Run, infos: dict[str, MethodInfo]) -> Any:
    """Lay out the form, or say why there is none."""
    kinds = [kind for kind in TRAINABLE if kind in run.units]
    if not kinds:
        return dmc.Text(
            "Neurons, heads, layers and rows can be fine-tuned, and this run has scored none of them.", size="sm"
        )
    presets = [
        {"value": "short", "label": f"For short runs: learning rate {PRESETS['short'].rate:g}"},
        {"value": "paper", "label": f"The paper's: learning rate {PAPER.rate:g}, learns little in short runs"},
    ]
    return dmc.Stack(
        [
            dmc.Text(
                "Trains only these units on the task's probe examples. The controls train on the same examples in the "
                "same order, and all are measured on the test examples.",
                size="sm",
            ),
            *units_form.controls("finetune", "Train", run, kinds, infos),
            dmc.Select(id="finetune-preset", label="Settings", data=presets, value="short", allowDeselect=False),
            dmc.Group(
                [
                    units_form.number("finetune", "steps", "Steps", 64, 16),
                    units_form.number("finetune", "batch", "Examples a step", 8),
                ],
                grow=True,
            ),
            dmc.CheckboxGroup(
                dmc.Stack([dmc.Checkbox(label=label, value=name) for name, label in CONTROLS.items()], gap=6, mt=4),
                id="finetune-controls",
                label="Train beside it, for comparison",
                value=["random"],
            ),
            dmc.Checkbox(id="finetune-adapter", label="Save a LoRA adapter for peft instead of a model", checked=False),
            name_input("finetune-name", "digits-tuned"),
            dmc.Button("Fine-tune", id="finetune-start"),
            html.Div(id="finetune-problem", role="alert"),
        ],
        gap="md",
    )


@callbacks.server(
    Output("apply-change", "data", allow_duplicate=True),
    Output("finetune-problem", "children"),
    Input("finetune-start", "n_clicks"),
    State("finetune-kind", "value"),
    State("finetune-share", "value"),
    State("finetune-method", "value"),
    State("finetune-preset", "value"),
    State("finetune-steps", "value"),
    State("finetune-batch", "value"),
    State("finetune-controls", "value"),
    State("finetune-adapter", "checked"),
    State("finetune-name", "value"),
    State("apply-run", "data"),
    prevent_initial_call=True,
)
async def start(
    clicks: int | None,
    kind: str,
    share: int,
    method: str,
    preset: str,
    steps: Any,
    batch: Any,
    controls: list[Any],
    adapter: bool,
    name: str,
    data: Any,
    *,
    api: AsyncClient,
) -> Any:
    """Queue the training."""
    if not clicks:
        return no_update, no_update
    try:
        values = {
            "steps": units_form.whole_number(steps, "Steps", 1, 1_000_000),
            "batch": units_form.whole_number(batch, "Examples a step", 1, 4096),
        }
        request = FinetuneRequest(
            run=data["id"],
            name=named(name),
            most=units_form.most(kind, share),
            method=method,
            settings=PRESETS[preset].model_copy(update=values),
            controls=[control for control in CONTROLS if control in controls],
            adapter=adapter,
        )
        derived = await api.send(client.derive(request))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return derived.id, None
