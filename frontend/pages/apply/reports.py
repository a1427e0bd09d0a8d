"""The forms that ask what the important units hold: probe and amplify. Neither changes the model."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, html, no_update

from frontend.pages.apply import units_form
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, Run
from modelshapley.contracts.applications.requests import AmplifyRequest, ProbeRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

callbacks = Callbacks()
READABLE = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER)
SCALABLE = (*READABLE, UnitKind.EXPERT)
PROBE = (
    "Can the class of an example be read linearly from the most important units, before the model answers? Random "
    "units and all units are read beside them."
)
AMPLIFY = (
    "Scales the activations of the most important units by 1.1 to 1.5 and measures the accuracy, beside as many random "
    "units scaled alike. Nothing is trained."
)


def probe_form(run: Run, infos: dict[str, MethodInfo]) -> Any:
    """Lay out the form of a probe."""
    kinds = [kind for kind in READABLE if kind in run.units]
    return _form("probe", PROBE, "Read", "Probe", 20, kinds, run, infos)


def amplify_form(run: Run, infos: dict[str, MethodInfo]) -> Any:
    """Lay out the form that amplifies units."""
    kinds = [kind for kind in SCALABLE if kind in run.units]
    return _form("amplify", AMPLIFY, "Scale", "Amplify", 5, kinds, run, infos)


def _form(
    use: str, about: str, title: str, button: str, draws: int, kinds: list[UnitKind], run: Run, infos: Any
) -> Any:
    if not kinds:
        return dmc.Text("This run has no map of units that can be chosen here.", size="sm")
    return dmc.Stack(
        [
            dmc.Text(about, size="sm"),
            *units_form.controls(use, title, run, kinds, infos),
            units_form.number(use, "draws", "Draws of as many random units", draws),
            dmc.Checkbox(id=f"{use}-layers", label="Draw as many random units of each layer", checked=False),
            dmc.Button(button, id=f"{use}-start"),
            html.Div(id=f"{use}-problem", role="alert"),
        ],
        gap="md",
    )


def _inputs(use: str) -> tuple[Any, ...]:
    """Return what both callbacks depend on."""
    states = [State(f"{use}-{name}", "value") for name in ("kind", "share", "method", "draws")]
    return (
        Output("apply-change", "data", allow_duplicate=True),
        Output(f"{use}-problem", "children"),
        Input(f"{use}-start", "n_clicks"),
        *states,
        State(f"{use}-layers", "checked"),
        State("apply-run", "data"),
    )


@callbacks.server(*_inputs("probe"), prevent_initial_call=True)
async def start_probe(
    clicks: int | None, kind: str, share: int, method: str, draws: Any, layers: bool, data: Any, *, api: AsyncClient
) -> Any:
    """Queue a probe."""
    return await _start(ProbeRequest, clicks, kind, share, method, draws, layers, data, api)


@callbacks.server(*_inputs("amplify"), prevent_initial_call=True)
async def start_amplify(
    clicks: int | None, kind: str, share: int, method: str, draws: Any, layers: bool, data: Any, *, api: AsyncClient
) -> Any:
    """Queue an amplification."""
    return await _start(AmplifyRequest, clicks, kind, share, method, draws, layers, data, api)


async def _start(
    form: type[ProbeRequest] | type[AmplifyRequest],
    clicks: int | None,
    kind: str,
    share: int,
    method: str,
    draws: Any,
    layers: bool,
    data: Any,
    api: AsyncClient,
) -> Any:
    if not clicks:
        return no_update, no_update
    try:
        draws = units_form.whole_number(draws, "The number of draws", 1, 1000)
        most = units_form.most(kind, share)
        request = form(run=data["id"], most=most, method=method, draws=draws, same_layers=layers)
        derived = await api.send(client.derive(request))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return derived.id, None
