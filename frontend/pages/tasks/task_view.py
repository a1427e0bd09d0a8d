"""The content of a task's preview, from contract to components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from frontend.pages.shared import tables
from frontend.pages.tasks import label_mapping
from modelshapley.contracts import Status
from modelshapley.contracts.task_files.descriptions import BadRows, ExampleShown, Labels, TaskCheck, Token

MOST_TOKENS = 1500  # displayed of an example
MAP_ELSEWHERE = "To map them, choose “Use as template” for this task and preview your own."
MOST_CLASSES = 12  # listed before the rest is folded


def view(check: TaskCheck, workers: int | None, editable: bool) -> Any:
    """Lay out a preview. workers: how many are running; None where that is not known. editable: the task is new."""
    if check.status is Status.FAILED:
        return dmc.Alert(
            check.error or "The preview failed.", title="The data could not be read", color="red", variant="light"
        )
    if check.status is not Status.DONE:
        return waiting(check.status, workers)
    parts = [
        _problems(check),
        _facts(check),
        _labels(check.labels, editable),
        _bad_rows(check.bad),
        _examples(check.examples),
        _classes(check.classes),
        _identity(check),
    ]
    return dmc.Stack([part for part in parts if part is not None], gap="lg")


def waiting(status: Status, workers: int | None) -> Any:
    """The placeholder of a preview that is not ready."""
    text = "A worker is reading the data …" if status is Status.RUNNING else "Waiting for a worker …"
    if status is Status.QUEUED and workers == 0:
        text = "No worker is running. Start one with `modelshapley worker`; this preview will then continue."
    return dmc.Stack([html.Div(text), dmc.Skeleton(h=24, w="60%"), dmc.Skeleton(h=120), dmc.Skeleton(h=120)])


def _problems(check: TaskCheck) -> Any:
    if not check.problems:
        return dmc.Alert("No problems found.", color="teal", variant="light")
    return dmc.Alert(
        html.Ul([html.Li(problem) for problem in check.problems], className="plain-list"),
        title="A run would fail",
        color="red",
        variant="light",
    )


def _facts(check: TaskCheck) -> Any:
    facts = []
    if check.info is not None:
        facts += [
            (_count(check.info.probe_examples), "examples for scoring"),
            (_count(check.info.test_examples), "held out for accuracy"),
        ]
    if check.longest is not None:
        limit = f", of at most {check.context:,}" if check.context is not None else ""
        facts.append((f"{check.longest:,}", f"tokens in the longest example{limit}"))
    return html.Dl(
        [html.Div([html.Dt(label, className="quiet"), html.Dd(figure)]) for figure, label in facts],
        className="task-facts",
    )


def _identity(check: TaskCheck) -> Any:
    if check.fingerprint is None:
        return None
    return html.Div(f"Fingerprint {check.fingerprint[:12]} (identifies the examples).", className="quiet")


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _labels(labels: Labels | None, editable: bool) -> Any:
    if labels is None:
        return None
    if not labels.model:
        return html.Details([html.Summary(f"{len(labels.data)} classes in the data"), _names("In order", labels.data)])
    lists = html.Div([_names("In the data", labels.data), _names("In the model", labels.model)], className="two-lists")
    if labels.problem is None:
        return html.Details([html.Summary(f"All {len(labels.data)} classes match the model's"), _pairs(labels)])
    title = dmc.Title("The classes do not match the model's", order=3, size="h5")
    advice = label_mapping.table(labels) if editable else html.P(MAP_ELSEWHERE, className="quiet")
    return html.Section([title, html.P(f"Reason: {labels.problem}."), lists, advice])


def _pairs(labels: Labels) -> Any:
    """Each class of the data, and the model's class that counts as right for it."""
    matched = zip(labels.data, labels.numbers, strict=True)
    table = label_mapping.pairs([(name, labels.model[number]) for name, number in matched])
    return html.Div(table, className="class-pairs", tabIndex=0, **{"aria-label": "Classes of the data and the model"})


def _names(title: str, names: Sequence[str]) -> Any:
    items = [html.Li(name) for name in names]
    return html.Div(
        [
            html.Div(f"{title} ({len(names)})", className="quiet"),
            html.Ol(items, start=0, className="names", tabIndex=0, **{"aria-label": title}),
        ]
    )


def _bad_rows(bad: Sequence[BadRows]) -> Any:
    if not bad:
        return None
    head = dmc.TableTr([dmc.TableTh(title) for title in ("Rows", "Reason", "For example")])
    rows = [
        dmc.TableTr(
            [
                dmc.TableTd(f"{entry.count:,}", className="number", **{"data-label": "Rows"}),
                tables.labelled(entry.reason, "Reason", ""),
                tables.labelled("; ".join(entry.rows), "For example", ""),
            ]
        )
        for entry in bad
    ]
    table = dmc.Table([dmc.TableThead(head), dmc.TableTbody(rows)], verticalSpacing=4, className=tables.CARDS)
    return html.Section([dmc.Title("Invalid rows", order=3, size="h5", mb=4), table])


def _examples(examples: Sequence[ExampleShown]) -> Any:
    if not examples:
        return None
    parts: list[Any] = [dmc.Title("First examples, as the model reads them", order=3, size="h5")]
    if any(example.tokens for example in examples):
        sample = html.Mark("marked", className="token loss")
        parts.append(html.P(["Loss is computed on the ", sample, " tokens."], className="quiet"))
    elif any(example.text for example in examples):
        parts.append(html.P("Choose a model to see its tokens, and those that loss is computed on.", className="quiet"))
    return html.Section([*parts, dmc.Stack([_example(example) for example in examples], gap="sm")])


def _example(example: ExampleShown) -> Any:
    label = f" · class {example.label}" if example.label is not None else ""
    parts: list[Any] = [html.Div(f"{example.row}{label}", className="quiet")]
    if example.image is not None:
        parts.append(html.Img(src=example.image, alt=f"Image of {example.row}", className="example-image"))
    if example.tokens:
        parts.append(_tokens(example.tokens))
    elif example.text:
        parts.append(html.Div(example.text, className="example-text"))
    if example.choices:
        parts.append(
            html.Ul(
                [
                    html.Li([choice, " ✓ correct"], className="right") if choice == example.right else html.Li(choice)
                    for choice in example.choices
                ],
                className="choices",
            )
        )
    if example.right not in example.choices:
        parts.append(html.Div([html.B("Correct: "), html.Span(example.right, className="example-right")]))
    return dmc.Paper(parts, withBorder=True, p="sm", radius="md", className="example")


def _tokens(tokens: Sequence[Token]) -> Any:
    spans = [
        html.Mark(_visible(token.text), className="token loss")
        if token.loss
        else html.Span(_visible(token.text), className="token")
        for token in tokens[:MOST_TOKENS]
    ]
    rest = len(tokens) - len(spans)
    more = [html.Span(f" … and {rest:,} more tokens", className="quiet")] if rest else []
    return html.Div([*spans, *more], className="tokens")


def _visible(text: str) -> str:
    """Make line breaks and empty tokens visible."""
    return text.replace("\n", "↵\n") or "∅"


def _classes(classes: dict[str, int]) -> Any:
    if not classes:
        return None
    listed = [f"{name} {count:,}" for name, count in classes.items()]
    text = " · ".join(listed[:MOST_CLASSES])
    rest = " · ".join(listed[MOST_CLASSES:])
    more = html.Details([html.Summary(f"and {len(listed) - MOST_CLASSES} more"), rest]) if rest else None
    title = dmc.Title(f"Examples for scoring, by class ({len(listed)})", order=3, size="h5")
    return html.Section([title, html.Div(text), more])
