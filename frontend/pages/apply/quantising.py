"""The form that quantises a run's model."""

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
from modelshapley.contracts import ModelInfo, Run
from modelshapley.contracts.applications.quantising import SCHEMES
from modelshapley.contracts.applications.requests import QuantiseRequest
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()
TITLES = {
    "gptq-w4": "GPTQ, 4 bits",
    "rtn-w4": "Round to nearest, 4 bits",
    "gptq-w8a8": "GPTQ, 8 bits, activations too",
    "fp8": "FP8 (needs a GPU)",
    "paper-algorithm-1": "The paper's Algorithm 1, for comparison",
    "paper-released": "The paper's released code, for comparison",
}


def form(run: Run, model: ModelInfo | None) -> Any:
    """Lay out the form, or say why there is none. model: of the run; None if it is not listed any more."""
    if model is not None and model.auto_class != "AutoModelForCausalLM":
        return dmc.Text("Only language models that write text can be quantised here.", size="sm")
    return dmc.Stack(
        [
            dmc.Text(
                "Saves the model with fewer bits, calibrated with the task's probe examples. Smaller on disk, and no "
                "faster on a CPU. The map plays no part: more bits for its most important layers lost less than for "
                "random layers, and more than the same bits spread evenly.",
                size="sm",
            ),
            dmc.Select(
                id="quantise-scheme",
                label="Scheme",
                data=[{"value": name, "label": title} for name, title in TITLES.items()],
                value="gptq-w4",
                allowDeselect=False,
            ),
            html.Div(about("gptq-w4"), id="quantise-about", className="quiet"),
            units_form.number("quantise", "limit", "Probe examples for calibration", 64, 16),
            name_input("quantise-name", "smollm2-w4"),
            dmc.Button("Quantise", id="quantise-start"),
            html.Div(id="quantise-problem", role="alert"),
        ],
        gap="md",
    )


def about(scheme: str) -> str:
    """Say what a scheme does."""
    summary = SCHEMES[scheme].summary
    return f"{summary[0].upper()}{summary[1:]}."


@callbacks.server(Output("quantise-about", "children"), Input("quantise-scheme", "value"), prevent_initial_call=True)
async def describe(scheme: str) -> Any:
    """Say what the chosen scheme does."""
    return about(scheme)


@callbacks.server(
    Output("apply-change", "data", allow_duplicate=True),
    Output("quantise-problem", "children"),
    Input("quantise-start", "n_clicks"),
    State("quantise-scheme", "value"),
    State("quantise-limit", "value"),
    State("quantise-name", "value"),
    State("apply-run", "data"),
    prevent_initial_call=True,
)
async def start(clicks: int | None, scheme: str, limit: Any, name: str, data: Any, *, api: AsyncClient) -> Any:
    """Queue the quantising."""
    if not clicks:
        return no_update, no_update
    try:
        limit = units_form.whole_number(limit, "Probe examples for calibration", 1, 100_000)
        request = QuantiseRequest(run=data["id"], name=named(name), scheme=scheme, limit=limit)
        derived = await api.send(client.derive(request))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return derived.id, None
