"""Behind the accuracy: each class before and after, and the examples that flipped. A part that unfolds."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from frontend.pages.shared import empty_states
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Status, Trial
from modelshapley.contracts.examples import ClassChange, Flip, TrialDetails
from modelshapley.contracts.tasks import ExampleShown
from modelshapley.errors import ModelShapleyError

TICK_MS = 500
LONGEST = 400  # characters of a text or an answer that are shown before it is cut


def layout() -> Any:
    return html.Details(
        [
            html.Summary("What changed: classes and examples"),
            dcc.Store(id="behind-open", data=False),
            dcc.Interval(id="behind-tick", interval=TICK_MS, disabled=True),
            html.Div(id="behind-words", role="status"),
        ],
        id="behind",
        className="section",
    )


def register(app: Dash, api: AsyncClient) -> None:
    @app.callback(
        Output("behind-words", "children"),
        Output("behind-tick", "disabled"),
        Input("behind-open", "data"),
        Input("trial", "data"),
        Input("behind-tick", "n_intervals"),
        State("behind-words", "children"),
    )
    async def _look(opened: bool, data: Any, _: int, shown: Any) -> Any:
        if not opened:
            return no_update, True
        if data is None:
            return html.Div(
                "Nothing is switched off. Switch units off to see what it changes.", className="quiet"
            ), True
        trial = Trial.model_validate(data)
        if trial.status in (Status.FAILED, Status.CANCELLED):
            return html.Div("The trial was not measured, so there is nothing behind it.", className="quiet"), True
        if trial.status is not Status.DONE:
            return html.Div("Measuring first; this follows by itself.", className="quiet"), True
        try:
            details = await api.send(client.look_behind(trial.id))
        except ModelShapleyError as error:
            return empty_states.failure(error), True
        if details.status is Status.FAILED:
            return dmc.Alert(details.error or "It failed.", title="Not looked at", color="red"), True
        if details.status is not Status.DONE:
            return [html.Div("Asking the model again …", className="quiet"), dmc.Skeleton(h=90, mt="xs")], False
        return view(details), True


def view(details: TrialDetails) -> Any:
    told = (
        f"Of {details.n} test examples {details.lost} are answered worse than by the intact model, and "
        f"{details.gained} better."
    )
    return html.Div(
        [
            html.Div(told, id="flip-counts"),
            html.Div([_classes(details.classes), _flips(details)], className="tried-grid"),
        ]
    )


def _classes(classes: list[ClassChange]) -> Any:
    if not classes:
        return html.Div("This task's examples have no classes.", className="quiet")
    titles = [("Class", ""), ("n", "number"), ("Intact", "number"), ("Now", "number"), ("Change, pts", "number")]
    head = dmc.TableTr([dmc.TableTh(title, className=css) for title, css in titles])
    rows = [
        dmc.TableTr(
            [
                dmc.TableTd(change.label),
                dmc.TableTd(f"{change.n}", className="number"),
                dmc.TableTd(formatting.percent(change.intact), className="number"),
                dmc.TableTd([formatting.percent(change.accuracy), _bar(change)], className="number"),
                dmc.TableTd(
                    [
                        formatting.points(change.difference).removesuffix(" pts"),
                        html.Div(
                            formatting.points_interval(change.difference_interval).removesuffix(" pts"),
                            className="quiet",
                        ),
                    ],
                    className="number",
                ),
            ]
        )
        for change in classes
    ]
    return html.Div(
        dmc.Table([dmc.TableThead(head), dmc.TableTbody(rows)], verticalSpacing=3),
        className="top-table",
        tabIndex=0,
        role="region",
        **{"aria-label": "Accuracy by class, before and after"},
    )


def _bar(change: ClassChange) -> Any:
    """Now as a bar, the intact model as a line."""
    return html.Div(
        [
            html.Div(className="share-bar", style={"width": f"{100 * change.accuracy:.0f}%"}),
            html.Div(className="class-intact", style={"left": f"{100 * change.intact:.0f}%"}),
        ],
        className="class-bar",
    )


def _flips(details: TrialDetails) -> Any:
    if not details.flips:
        return html.Div("No answer flipped.", className="quiet")
    left = details.lost + details.gained - len(details.flips)
    more = [html.Div(f"and {left} more", className="quiet")] if left else []
    return html.Div([*(_flip(flip) for flip in details.flips), *more], className="flips")


def _flip(flip: Flip) -> Any:
    lost = flip.after < flip.before
    said = [
        html.Div([html.Span("intact: ", className="quiet"), _said(flip.said_before, flip.before)]),
        html.Div([html.Span("now: ", className="quiet"), _said(flip.said_after, flip.after)]),
    ]
    return html.Div(
        [
            html.Div("✗ lost" if lost else "✓ gained", className="flip-mark"),
            brief(flip.example),
            html.Div([*said, html.Div([html.Span("right: ", className="quiet"), cut(flip.example.right)])]),
        ],
        className="flip lost" if lost else "flip gained",
    )


def _said(answer: str | None, right: float) -> Any:
    how = "right" if right == 1 else "wrong" if right == 0 else f"{formatting.percent(right)} right"
    return html.Span(cut(answer) if answer is not None else how, title=how)


def brief(example: ExampleShown) -> Any:
    """An example in little room: its picture or the beginning of its text."""
    of_class = f" · {example.label}" if example.label is not None else ""
    seen = (
        html.Img(src=example.image, alt=f"The picture of {example.row}", className="flip-image")
        if example.image is not None
        else html.Div(cut(example.text or "".join(token.text for token in example.tokens)), className="flip-text")
    )
    return html.Div([seen, html.Div(f"{example.row}{of_class}", className="quiet")])


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
