"""How much harm weighs against help: another reading of the same map, chosen by a slider."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, html, no_update

from modelshapley.methods import harm_of, with_harm
from modelshapley.methods.specs import Value

SIGNED = 1.25  # the slider's last stop
STOPS = {0.0: "0", 0.25: "¼", 0.5: "½", 0.75: "¾", 1.0: "1", SIGNED: "signed"}
MEANING = (
    "Examples that a unit helps count 1 + h, those it hurts 1 − h. At 0 both count alike, at 1 only help; "
    "signed takes harm away from help."
)


def layout(spec: str) -> Any:
    """The slider, hidden for methods that do not keep help and harm apart."""
    return html.Div(
        [
            dmc.Text("Harm weighs less by h", size="sm", fw=500, mb=4, id="harm-label"),
            dmc.Slider(
                id="harm",
                value=stop(spec),
                min=0,
                max=SIGNED,
                step=0.25,
                restrictToMarks=True,
                marks=[{"value": value, "label": label} for value, label in STOPS.items()],
                label=None,
                w=220,
                mb=18,
                size="sm",
                thumbLabel="How much less harm weighs than help",
            ),
        ],
        id="weighing",
        title=MEANING,
        style=style(spec),
    )


def register(app: Dash) -> None:
    @app.callback(
        Output("harm", "value"),
        Output("weighing", "style"),
        Output("reading", "data"),
        Input("method", "value"),
        Input("harm", "value"),
        State("reading", "data"),
        prevent_initial_call=True,
    )
    def _read(method: str, position: float, reading: str) -> Any:
        if ctx.triggered_id == "method":
            return stop(method), style(method), method
        # The slider has its default on methods that do not use it, and moves by itself with the method.
        if harm_of(method) is None or position == stop(reading):
            return no_update, no_update, no_update
        return no_update, no_update, with_harm(method, "signed" if position == SIGNED else position)


def stop(spec: str) -> float:
    """The slider's nearest stop to a method's weight of harm."""
    harm: Value | None = harm_of(spec)
    if harm is None:
        return 0.0
    return SIGNED if harm == "signed" else min(STOPS, key=lambda s: abs(s - float(harm)) if s != SIGNED else 99)


def style(spec: str) -> dict[str, str]:
    return {} if harm_of(spec) is not None else {"display": "none"}
