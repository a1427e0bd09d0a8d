"""The form that makes a smaller model: choose a size, see what it costs, and make it."""

from __future__ import annotations

from typing import Any, Literal

import dash_mantine_components as dmc
from dash import Input, Output, State, html, no_update

from frontend.pages.apply import apply_view
from frontend.pages.apply.naming import name_input, named
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, Run, Status, TrialRequest
from modelshapley.contracts.applications.derived import DerivedRequest, Repairing, SizePrediction, SizeRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

callbacks = Callbacks()
MIX = "mix"
UNREPAIRED = ("none", "No repair")
SHARES = (5, 60)  # percent; beyond, no task that we measured has anything left
CUTTABLE = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER, UnitKind.EXPERT)


def form(run: Run, infos: dict[str, MethodInfo]) -> Any:
    """Lay out the form."""
    kinds = [kind for kind in CUTTABLE if kind in run.units]
    choices = [{"value": MIX, "label": "Best mix"}]
    choices += [{"value": kind.value, "label": formatting.PLURALS[kind].capitalize()} for kind in kinds]
    return dmc.Stack(
        [
            html.Div(
                [
                    dmc.Text("Remove this share of the parameters", size="sm", fw=500, mb=4),
                    dmc.Slider(
                        id="apply-share",
                        value=20,
                        min=SHARES[0],
                        max=SHARES[1],
                        step=5,
                        updatemode="mouseup",
                        marks=[{"value": mark, "label": f"{mark} %"} for mark in (10, 20, 30, 40, 50)],
                        thumbLabel="Share of the parameters to remove, in percent",
                    ),
                ],
                className="share",
            ),
            html.Div(
                [
                    dmc.Text("What to remove", size="sm", fw=500, mb=4),
                    dmc.SegmentedControl(
                        id="apply-kind", data=choices, value=MIX, fullWidth=True, **{"aria-label": "What to remove"}
                    ),
                ]
            ),
            dmc.NumberInput(
                id="apply-milliseconds",
                label="Or: longest time of a pass, in ms",
                description="With Best mix, instead of the share: 8 probe examples at once, measured on the worker",
                value="",
                min=0,
                clampBehavior="none",
            ),
            dmc.Select(
                id="apply-method",
                label="Least important by",
                data=[{"value": m, "label": formatting.method(m, infos)} for m in run.methods],
                value=run.methods[0],
                allowDeselect=False,
            ),
            html.Div(apply_view.mixture(), id="apply-prediction", role="status", className="apply-prediction"),
            name_input("apply-name", "digits-small"),
            _repair_input(),
            dmc.Button("Make the model", id="apply-start"),
            html.Div(id="apply-problem", role="alert"),
        ],
        gap="md",
    )


def _repair_input() -> Any:
    return dmc.Select(
        id="apply-repair",
        label="Repair",
        description="Tried on the probe examples, and kept only if it helps on others of them",
        data=[{"value": how, "label": label} for how, label in (UNREPAIRED, *apply_view.REPAIRS.items())],
        value=UNREPAIRED[0],
        allowDeselect=False,
    )


@callbacks.server(
    Output("apply-prediction", "children"),
    Output("apply-method", "disabled"),
    Output("apply-milliseconds", "disabled"),
    Output("apply-state", "data"),
    Input("apply-share", "value"),
    Input("apply-kind", "value"),
    Input("apply-method", "value"),
    Input("apply-tick", "n_intervals"),
    State("apply-state", "data"),
    State("apply-run", "data"),
)
async def show_prediction(
    share: int, kind: str, method: str, _: int, state: dict[str, Any] | None, data: Any, *, api: AsyncClient
) -> Any:
    """Predict size and loss for the chosen units, and measure them; poll until both have ended."""
    key = [share, kind, method]
    if kind == MIX:
        shown = state is not None and state["key"] == key
        return (no_update,) * 4 if shown else (apply_view.mixture(), True, False, {"key": key})
    if state is None or state["key"] != key:
        state = {"key": key}
    elif state.get("ended"):
        return (no_update,) * 4
    run = Run.model_validate(data)
    try:
        size = await (
            api.send(client.predicted_size(state["size"])) if "size" in state else _size(api, run, share, kind, method)
        )
        state["size"], trial = size.id, None
        if size.off is not None:
            state["trial"] = state.get("trial") or await _start_trial(api, run, size)
            trial = await api.send(client.trial(state["trial"]))
        infos = {info.id: info for info in await api.send(client.methods())}
    except ModelShapleyError as error:
        return empty_states.trying_again(error), False, True, state
    state["ended"] = size.status is Status.FAILED or (trial is not None and trial.status.ended)
    return apply_view.prediction(size, infos[method.partition(",")[0]].quantity, trial), False, True, state


async def _size(api: AsyncClient, run: Run, share: int, kind: str, method: str) -> SizePrediction:
    request = SizeRequest(run=run.id, method=method, unit=UnitKind(kind), share=share / 100)
    return await api.send(client.predict_size(request))


async def _start_trial(api: AsyncClient, run: Run, size: SizePrediction) -> str:
    trial = await api.send(client.submit_trial(TrialRequest(run=run.id, off=size.off)))
    return trial.id


@callbacks.server(
    Output("apply-change", "data"),
    Output("apply-problem", "children"),
    Input("apply-start", "n_clicks"),
    State("apply-share", "value"),
    State("apply-milliseconds", "value"),
    State("apply-kind", "value"),
    State("apply-method", "value"),
    State("apply-name", "value"),
    State("apply-repair", "value"),
    State("apply-run", "data"),
    prevent_initial_call=True,
)
async def start(
    clicks: int | None,
    share: int,
    milliseconds: float | str | None,
    kind: str,
    method: str,
    name: str,
    repair: Repairing | Literal["none"],
    data: Any,
    *,
    api: AsyncClient,
) -> Any:
    """Queue the model."""
    if not clicks:
        return no_update, no_update
    run = Run.model_validate(data)
    repairing: Repairing | Literal[False] = False if repair == "none" else repair
    try:
        if kind == MIX:
            request = mixed(run.id, share, milliseconds, named(name), repairing)
        else:
            request = await _of_one_kind(api, run, share, kind, method, named(name), repairing)
        derived = await api.send(client.derive(request))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return derived.id, None


def mixed(
    run: str, share: int, milliseconds: float | str | None, name: str, repair: Repairing | Literal[False]
) -> DerivedRequest:
    """Return the request for the best mix: for a time where one is given, else for the share.

    Raises ModelShapleyError for a time that is none.
    """
    if milliseconds is None or milliseconds == "":
        return DerivedRequest(run=run, name=name, share=share / 100, repair=repair)
    if not isinstance(milliseconds, int | float) or not 0 < milliseconds < 1e6:
        raise ModelShapleyError(
            f"A pass takes more than 0 and less than 1,000,000 ms, not {milliseconds}; leave the time empty to go by "
            "the share."
        )
    return DerivedRequest(run=run, name=name, milliseconds=milliseconds, repair=repair)


async def _of_one_kind(
    api: AsyncClient, run: Run, share: int, kind: str, method: str, name: str, repair: Repairing | Literal[False]
) -> DerivedRequest:
    """Return the request for a share of one kind of unit. Raises ModelShapleyError."""
    size = await _size(api, run, share, kind, method)
    if size.off is None:
        raise ModelShapleyError(size.error or "The size is still being predicted; try again in a moment.")
    return DerivedRequest(run=run.id, name=name, off=size.off, method=method, repair=repair)
