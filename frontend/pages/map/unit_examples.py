"""The examples on which a unit does most, shaded where in them it does it."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from frontend.pages.map.trial_details import brief
from frontend.pages.shared import empty_states
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Status
from modelshapley.contracts.examples import UnitExample, UnitExamples, UnitExamplesRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

TICK_MS = 500
STRONGEST = 3
MOST_TOKENS = 400
HELPS, HURTS = "59, 130, 214", "217, 119, 6"


def layout() -> Any:
    return html.Div(
        [
            dcc.Interval(id="unit-tick", interval=TICK_MS, disabled=True),
            html.Div(
                dmc.Button("Examples on which it does most", id="look-at-unit", size="compact-sm", variant="default"),
                id="look-frame",
                hidden=True,
            ),
            html.Div(id="unit-examples", role="status"),
        ]
    )


def register(app: Dash, api: AsyncClient) -> None:
    @app.callback(
        Output("unit-examples", "children"),
        Output("unit-tick", "disabled"),
        Output("look-frame", "hidden"),
        Input("focus", "data"),
        Input("look-at-unit", "n_clicks"),
        Input("unit-tick", "n_intervals"),
        State("run", "data"),
    )
    async def _look(focus: Any, clicks: int | None, _: int, run: Any) -> Any:
        if focus is None:
            return None, True, True
        if ctx.triggered_id not in ("look-at-unit", "unit-tick"):
            return None, True, False
        if not clicks:
            return no_update, True, False
        request = UnitExamplesRequest(kind=UnitKind(focus["kind"]), unit=focus["unit"])
        try:
            found = await api.send(client.look_at_unit(run["id"], request))
        except ModelShapleyError as error:
            return empty_states.failure(error), True, False
        if found.status is Status.FAILED:
            alert = dmc.Alert(found.error or "It failed.", title="Not looked at", color="red", variant="light")
            return alert, True, False
        if found.status is not Status.DONE:
            waiting = html.Div("One backward pass over the scored examples …", className="quiet")
            return [waiting, dmc.Skeleton(h=80, mt="xs")], False, True
        return view(found), True, True


def view(found: UnitExamples) -> Any:
    said = (
        f"Of the first {found.n} scored examples, those on whose loss it acts most, to first order. "
        "Blue: it helps there; orange: it hurts."
    )
    return html.Div(
        [html.Div(said, className="quiet"), html.Div([_one(one) for one in found.examples], className="flips")]
    )


def _one(one: UnitExample) -> Any:
    how = "helps" if one.help >= 0 else "hurts"
    return html.Div(
        [
            html.Div(f"{how} {formatting.score(abs(one.help))} nats", className="flip-mark"),
            _seen(one),
            html.Div([_strongest(one), html.Div([html.Span("right: ", className="quiet"), one.example.right])]),
        ],
        className="flip",
    )


def _seen(one: UnitExample) -> Any:
    if one.example.image is not None and one.grid is not None:
        return _picture(one)
    if one.example.tokens and one.places:
        return _tokens(one)
    return brief(one.example)


def _tokens(one: UnitExample) -> Any:
    largest = max(map(abs, one.places)) or 1.0
    drawn = [
        html.Span(token.text.replace("\n", "↵\n") or "∅", style=_ink(place / largest), title=_nats(place))
        for token, place in zip(one.example.tokens[:MOST_TOKENS], one.places, strict=False)
    ]
    last = [token.text for token in one.example.tokens[len(one.places) : MOST_TOKENS]]
    return html.Div([*drawn, *last], className="flip-text tokens")


def _picture(one: UnitExample) -> Any:
    assert one.grid is not None
    rows, columns = one.grid
    patches = one.places[-rows * columns :]
    largest = max(map(abs, one.places)) or 1.0
    cells = [html.Div(style=_ink(place / largest), title=_nats(place)) for place in patches]
    return html.Div(
        [
            html.Img(src=one.example.image, alt=f"The picture of {one.example.row}"),
            html.Div(cells, style={"gridTemplateColumns": f"repeat({columns}, 1fr)"}),
        ],
        className="patches",
    )


def _strongest(one: UnitExample) -> Any:
    """In words what the shades say: the places with the most, with their figures."""
    if not one.places:
        return None
    order = sorted(range(len(one.places)), key=lambda place: -abs(one.places[place]))[:STRONGEST]
    return html.Div([html.Span("most at ", className="quiet"), "; ".join(_place(one, place) for place in order)])


def _place(one: UnitExample, place: int) -> str:
    if one.grid is not None:
        first = len(one.places) - one.grid[0] * one.grid[1]
        where = "the class token" if place < first else "row {}, column {}".format(*divmod(place - first, one.grid[1]))
    elif one.example.tokens:
        where = f"‘{one.example.tokens[place].text.strip() or '␣'}’"
    else:
        where = f"position {place}"
    return f"{where} {_nats(one.places[place])}"


def _nats(value: float) -> str:
    return f"{'+' if value > 0 else ''}{formatting.score(value)}"


def _ink(share: float) -> dict[str, str]:
    return {"background": f"rgba({HELPS if share >= 0 else HURTS}, {0.75 * abs(share):.2f})"}
