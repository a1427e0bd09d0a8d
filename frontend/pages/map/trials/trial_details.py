"""The section "What changed": accuracy by class before and after, and the examples whose answer flipped."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update

from frontend.pages.shared import empty_states, tables
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Status, Trial
from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.contracts.task_files.examples import ClassChange, Flip, TrialDetails
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()

TICK_MS = 500
LONGEST = 400  # characters of a text or an answer before it is cut


def layout() -> Any:
    """Lay out the closed section; details are fetched when it is opened."""
    return html.Details(
        [
            html.Summary("What changed, by class and example"),
            dcc.Store(id="trial-details-open", data=False),
            dcc.Interval(id="trial-details-tick", interval=TICK_MS, disabled=True),
            html.Div(id="trial-details-text", role="status"),
        ],
        id="trial-details",
        className="section",
    )


@callbacks.server(
    Output("trial-details-text", "children"),
    Output("trial-details-tick", "disabled"),
    Input("trial-details-open", "data"),
    Input("trial", "data"),
    Input("trial-details-tick", "n_intervals"),
    State("trial-details-text", "children"),
)
async def show_details(opened: bool, data: Any, _: int, __: Any, *, api: AsyncClient) -> Any:
    """Fetch the details of the current trial; poll while a worker computes them."""
    if not opened:
        return no_update, True
    if data is None:
        return html.Div("Nothing is switched off. Switch units off to see what changes.", className="quiet"), True
    trial = Trial.model_validate(data)
    if trial.status in (Status.FAILED, Status.CANCELLED):
        return html.Div("The trial was not measured, so it has no details.", className="quiet"), True
    if trial.status is not Status.DONE:
        return html.Div("The details follow when the trial is measured.", className="quiet"), True
    try:
        details = await api.send(client.compute_trial_details(trial.id))
    except ModelShapleyError as error:
        return empty_states.failure(error), True
    if details.status is Status.FAILED:
        return dmc.Alert(details.error or "The computation failed.", title="Details not available", color="red"), True
    if details.status is not Status.DONE:
        return [
            html.Div("Running the model on the test examples …", className="quiet"),
            dmc.Skeleton(h=90, mt="xs"),
        ], False
    return view(details), True


def view(details: TrialDetails) -> Any:
    """Lay out how many examples changed, the classes, and the flipped examples."""
    counts = f"{details.lost} answers lost, {details.gained} gained, of {details.n} test examples."
    return html.Div(
        [
            html.Div(counts, id="flip-counts"),
            html.Div([_classes(details.classes), _flips(details)], className="past-trials-grid"),
        ]
    )


def _classes(classes: list[ClassChange]) -> Any:
    if not classes:
        return html.Div("This task has no classes.", className="quiet")
    titles = [("Class", ""), ("n", "number"), ("Intact", "number"), ("Now", "number"), ("Change, pts", "number")]
    head = dmc.TableTr([dmc.TableTh(title, className=css) for title, css in titles])
    rows = [
        dmc.TableTr(
            [
                dmc.TableTd(change.label),
                tables.labelled(f"{change.n}", "n"),
                tables.labelled(formatting.percent(change.intact), "Intact"),
                tables.labelled([html.Span(formatting.percent(change.accuracy)), _bar(change)], "Now"),
                tables.labelled(
                    html.Div(
                        [
                            formatting.points(change.difference).removesuffix(" pts"),
                            html.Div(
                                formatting.points_interval(change.difference_interval).removesuffix(" pts"),
                                className="quiet",
                            ),
                        ]
                    ),
                    "Change, pts",
                ),
            ]
        )
        for change in classes
    ]
    return html.Div(
        dmc.Table([dmc.TableThead(head), dmc.TableTbody(rows)], verticalSpacing=3, className=tables.CARDS),
        className="top-table",
        tabIndex=0,
        role="region",
        **{"aria-label": "Accuracy by class, before and after"},
    )


def _bar(change: ClassChange) -> Any:
    """A bar for the accuracy now, with a line for the intact model."""
    return html.Div(
        [
            html.Div(className="share-bar", style={"width": f"{100 * change.accuracy:.0f}%"}),
            html.Div(className="class-intact", style={"left": f"{100 * change.intact:.0f}%"}),
        ],
        className="class-bar",
    )


def _flips(details: TrialDetails) -> Any:
    if not details.flips:
        return html.Div("No answer changed.", className="quiet")
    left = details.lost + details.gained - len(details.flips)
    more = [html.Div(f"and {left} more", className="quiet")] if left else []
    return html.Div([*(_flip(flip) for flip in details.flips), *more], className="flips")


def _flip(flip: Flip) -> Any:
    lost = flip.after < flip.before
    answers = [
        html.Div([html.Span("intact: ", className="quiet"), _answer(flip.said_before, flip.before)]),
        html.Div([html.Span("now: ", className="quiet"), _answer(flip.said_after, flip.after)]),
        html.Div([html.Span("correct: ", className="quiet"), cut(flip.example.right)]),
    ]
    return html.Div(
        [
            html.Div("✗ lost" if lost else "✓ gained", className="flip-mark"),
            brief(flip.example),
            html.Div(answers),
        ],
        className="flip lost" if lost else "flip gained",
    )


def _answer(answer: str | None, score: float) -> Any:
    """An answer as text, with how far it is correct as its tooltip, or that alone where the model gives no text."""
    correctness = "correct" if score == 1 else "wrong" if score == 0 else f"{formatting.percent(score)} correct"
    return html.Span(cut(answer) if answer is not None else correctness, title=correctness)


def brief(example: ExampleShown) -> Any:
    """A compact example: its picture or the beginning of its text."""
    label = f" · {example.label}" if example.label is not None else ""
    content = (
        html.Img(src=example.image, alt=f"Image of {example.row}", className="flip-image")
        if example.image is not None
        else html.Div(cut(example.text or "".join(token.text for token in example.tokens)), className="flip-text")
    )
    return html.Div([content, html.Div(f"{example.row}{label}", className="quiet")])


def cut(text: str) -> str:
    """Cut a text to LONGEST characters."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
