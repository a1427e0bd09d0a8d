"""The examples that a unit affects most, shaded by where in them it acts."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, ctx, dcc, html, no_update

from frontend.pages.map.trials.trial_details import brief
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Status
from modelshapley.contracts.task_files.examples import UnitExample, UnitExamples, UnitExamplesRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

callbacks = Callbacks()

TICK_MS = 500
STRONGEST = 3
MOST_TOKENS = 400
HELPS, HURTS = "59, 130, 214", "217, 119, 6"


def layout() -> Any:
    """Lay out the button that finds the examples; it is hidden until a unit has the focus."""
    return html.Div(
        [
            dcc.Interval(id="unit-tick", interval=TICK_MS, disabled=True),
            html.Div(
                dmc.Button("Examples it affects most", id="find-examples", size="compact-sm", variant="default"),
                id="find-examples-frame",
                hidden=True,
            ),
            html.Div(id="unit-examples", role="status"),
        ]
    )


@callbacks.server(
    Output("unit-examples", "children"),
    Output("unit-tick", "disabled"),
    Output("find-examples-frame", "hidden"),
    Input("focus", "data"),
    Input("find-examples", "n_clicks"),
    Input("unit-tick", "n_intervals"),
    State("run", "data"),
)
async def show_examples(focus: Any, clicks: int | None, _: int, run: Any, *, api: AsyncClient) -> Any:
    """Find the examples of the unit that has the focus; poll while a worker does."""
    if focus is None:
        return None, True, True
    if ctx.triggered_id not in ("find-examples", "unit-tick"):
        return None, True, False
    if not clicks:
        return no_update, True, False
    request = UnitExamplesRequest(kind=UnitKind(focus["kind"]), unit=focus["unit"])
    try:
        answer = await api.send(client.find_unit_examples(run["id"], request))
    except ModelShapleyError as error:
        return empty_states.failure(error), True, False
    if answer.status is Status.FAILED:
        text = answer.error or "The computation failed."
        return dmc.Alert(text, title="Examples not available", color="red", variant="light"), True, False
    if answer.status is not Status.DONE:
        waiting = html.Div("Running one backward pass over the scored examples …", className="quiet")
        return [waiting, dmc.Skeleton(h=80, mt="xs")], False, True
    return view(answer), True, True


def view(answer: UnitExamples) -> Any:
    """Lay out the examples, the strongest effect first."""
    legend = (
        f"The examples whose loss this unit changes most, to first order, among the first {answer.n} scored ones. "
        "Blue: helps. Orange: hurts."
    )
    cards = [_example(example) for example in answer.examples]
    return html.Div([html.Div(legend, className="quiet"), html.Div(cards, className="flips")])


def _example(unit_example: UnitExample) -> Any:
    verb = "helps" if unit_example.help >= 0 else "hurts"
    correct = html.Div([html.Span("correct: ", className="quiet"), unit_example.example.right])
    return html.Div(
        [
            html.Div(f"{verb} {formatting.score(abs(unit_example.help))} nats", className="flip-mark"),
            _content(unit_example),
            html.Div([_strongest(unit_example), correct]),
        ],
        className="flip unit-flip",
    )


def _content(unit_example: UnitExample) -> Any:
    if unit_example.example.image is not None and unit_example.grid is not None:
        return _picture(unit_example)
    if unit_example.example.tokens and unit_example.places:
        return _tokens(unit_example)
    return brief(unit_example.example)


def _tokens(unit_example: UnitExample) -> Any:
    tokens, effects = unit_example.example.tokens, unit_example.places
    largest = max(map(abs, effects)) or 1.0
    shaded = [
        html.Span(token.text.replace("\n", "↵\n") or "∅", style=_shade(effect / largest), title=_nats(effect))
        for token, effect in zip(tokens[:MOST_TOKENS], effects, strict=False)
    ]
    rest = [token.text for token in tokens[len(effects) : MOST_TOKENS]]
    return html.Div([*shaded, *rest], className="flip-text tokens")


def _picture(unit_example: UnitExample) -> Any:
    assert unit_example.grid is not None
    rows, columns = unit_example.grid
    # The class token, if there is one, comes before the patches and has no place in the picture.
    patches = unit_example.places[-rows * columns :]
    largest = max(map(abs, unit_example.places)) or 1.0
    cells = [html.Div(style=_shade(effect / largest), title=_nats(effect)) for effect in patches]
    return html.Div(
        [
            html.Img(src=unit_example.example.image, alt=f"Image of {unit_example.example.row}"),
            html.Div(cells, style={"gridTemplateColumns": f"repeat({columns}, 1fr)"}),
        ],
        className="patches",
    )


def _strongest(unit_example: UnitExample) -> Any:
    """The positions with the strongest effects, as text, for those who cannot tell the shades."""
    effects = unit_example.places
    if not effects:
        return None
    order = sorted(range(len(effects)), key=lambda position: -abs(effects[position]))[:STRONGEST]
    texts = [f"{_position(unit_example, position)} {_nats(effects[position])}" for position in order]
    return html.Div([html.Span("strongest at ", className="quiet"), "; ".join(texts)])


def _position(unit_example: UnitExample, position: int) -> str:
    if unit_example.grid is not None:
        rows, columns = unit_example.grid
        patch = position - (len(unit_example.places) - rows * columns)
        return "the class token" if patch < 0 else "row {}, column {}".format(*divmod(patch, columns))
    if unit_example.example.tokens:
        return f"‘{unit_example.example.tokens[position].text.strip() or '␣'}’"
    return f"position {position}"


def _nats(value: float) -> str:
    return f"{'+' if value > 0 else ''}{formatting.score(value)}"


def _shade(share: float) -> dict[str, str]:
    return {"background": f"rgba({HELPS if share >= 0 else HURTS}, {0.75 * abs(share):.2f})"}
