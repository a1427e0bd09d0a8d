"""A slider that discounts harmful effects: another reading of the same map."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, ctx, html, no_update

from frontend.pages.shared.info import info
from frontend.pages.shared.wiring import Callbacks
from modelshapley.methods import harm_of, with_harm
from modelshapley.methods.specs import Value

callbacks = Callbacks()

SIGNED = 1.25  # the slider's last stop, after h = 1: harmful effects count negatively
STOPS = {0.0: "0", 0.25: "¼", 0.5: "½", 0.75: "¾", 1.0: "1", SIGNED: "signed"}
MEANING = (
    "Helpful effects count 1 + h, harmful ones 1 − h. At 0 both count the same, at 1 only help counts. "
    "'Signed' subtracts harm from help."
)


def layout(spec: str) -> Any:
    """Lay out the slider, hidden for methods that do not record help and harm separately."""
    return html.Div(
        [
            html.Div(
                [
                    dmc.Text("Discount for harmful effects (h)", size="sm", fw=500, id="harm-label", span=True),
                    info("Discount for harmful effects", MEANING),
                ],
                className="labelled",
            ),
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
                thumbLabel="Discount for harmful effects",
            ),
        ],
        id="harm-control",
        title=MEANING,
        style=style(spec),
    )


@callbacks.server(
    Output("harm", "value"),
    Output("harm-control", "style"),
    Output("reading", "data"),
    Input("method", "value"),
    Input("harm", "value"),
    State("reading", "data"),
    prevent_initial_call=True,
)
def choose_reading(method: str, position: float, reading: str) -> Any:
    """Read the map with the discount of the slider, or with the default of another method."""
    if ctx.triggered_id == "method":
        return stop(method), style(method), method
    # The slider also fires when it moves with the method, and it sits at its default where a method does not use it.
    if harm_of(method) is None or position == stop(reading):
        return no_update, no_update, no_update
    return no_update, no_update, with_harm(method, "signed" if position == SIGNED else position)


def stop(spec: str) -> float:
    """Return the slider's stop that is nearest to a method's discount."""
    harm: Value | None = harm_of(spec)
    if harm is None:
        return 0.0
    return SIGNED if harm == "signed" else min(STOPS, key=lambda s: abs(s - float(harm)) if s != SIGNED else 99)


def style(spec: str) -> dict[str, str]:
    """Return the CSS that hides the slider where a method has no discount."""
    return {} if harm_of(spec) is not None else {"display": "none"}
