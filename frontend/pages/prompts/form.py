"""The form of the page to try a prompt: model, prompt or picture, and how the answer is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from modelshapley.contracts import ModelInfo
from modelshapley.contracts.prompts import MAX_NEW_TOKENS
from modelshapley.prompts.answer_task import CAUSAL, PICTURES

CHATS = {"auto": "If the model has one", "yes": "Yes", "no": "No"}


def suitable(models: list[ModelInfo]) -> list[ModelInfo]:
    """Return the models that can answer a prompt or classify a picture."""
    return [model for model in models if model.usable and model.auto_class in (CAUSAL, PICTURES)]


def layout(models: Sequence[ModelInfo], auto_class: str, model: str | None) -> Any:
    """Lay out the form. models: to choose from; none where the model is given. auto_class: of the current model."""
    return dmc.Paper(
        [
            html.Div(_choice(models, model), hidden=not models),
            html.Div(
                dmc.Textarea(
                    id="try-text",
                    label="Prompt",
                    description="What the model should continue or answer",
                    autosize=True,
                    minRows=2,
                    maxRows=10,
                ),
                id="try-text-frame",
                hidden=auto_class != CAUSAL,
            ),
            html.Div(id="try-picture-frame", hidden=auto_class != PICTURES, **{"data-picture-field": ""}),
            _more(auto_class),
            dmc.Group(
                [
                    dmc.Button("Answer", id="try-go", size="sm"),
                    html.Button("Cancel", id="try-cancel", type="button", className="upload-button", hidden=True),
                    html.Div(id="try-state", className="quiet", role="status"),
                ],
                gap="md",
                mt="sm",
            ),
            html.Div(id="try-problem", role="alert"),
        ],
        withBorder=True,
        p="md",
        radius="md",
    )


def _choice(models: Sequence[ModelInfo], model: str | None) -> Any:
    return dmc.Select(
        id="try-model",
        label="Model",
        data=[{"value": m.id, "label": m.title or m.id} for m in models],
        value=model,
        allowDeselect=False,
        searchable=True,
        maw=480,
        mb="sm",
    )


def _more(auto_class: str) -> Any:
    number = {"size": "xs", "w": 130}
    fields = [
        dmc.NumberInput(id="try-length", label="Tokens, at most", value=64, min=1, max=MAX_NEW_TOKENS, **number),
        dmc.NumberInput(
            id="try-temperature", label="Temperature", value=0, min=0, max=10, step=0.1, decimalScale=2, **number
        ),
        dmc.NumberInput(id="try-seed", label="Seed", value=0, min=0, max=2**31 - 1, allowDecimal=False, **number),
        dmc.Select(
            id="try-chat",
            label="Chat template",
            data=[{"value": value, "label": label} for value, label in CHATS.items()],
            value="auto",
            allowDeselect=False,
            size="xs",
            w=180,
        ),
    ]
    about = (
        "Temperature 0 takes the likeliest token. Above, tokens are drawn, by the same random numbers in both columns."
    )
    return html.Details(
        [html.Summary("More"), dmc.Group(fields, gap="md", align="flex-end"), html.Div(about, className="quiet")],
        className="section",
        id="try-more",
        hidden=auto_class != CAUSAL,
    )


def columns(title: str, both: bool) -> Any:
    """Lay out the columns of the answer, empty. title: of the changed one. both: whether there is that one."""
    return html.Div(
        [
            _column("intact", "Intact model", False),
            _column("changed", title, not both),
        ],
        className="try-columns",
        id="try-columns",
        hidden=True,
    )


def _column(name: str, title: str, hidden: bool) -> Any:
    return html.Div(
        dmc.Paper(
            [
                dmc.Title(title, order=2, size="h4"),
                html.Div(id=f"try-{name}", className="try-answer", tabIndex=0, **{"aria-label": f"Answer: {title}"}),
            ],
            withBorder=True,
            p="md",
            radius="md",
        ),
        id=f"try-{name}-card",
        hidden=hidden,
    )


def token_section() -> Any:
    """Lay out the section of single tokens, hidden until an answer is complete; try.js fills it."""
    return html.Section(
        [
            dmc.Group(
                [
                    dmc.Title("Token by token", order=2, size="h4", id="try-tokens-title"),
                    html.Div(
                        dmc.SegmentedControl(
                            id="try-shade",
                            data=[
                                {"value": "kl", "label": "KL divergence"},
                                {"value": "loss", "label": "Loss increase"},
                            ],
                            value="kl",
                            size="xs",
                            **{"aria-label": "Shade tokens by"},
                        ),
                        id="try-shade-frame",
                    ),
                ],
                justify="space-between",
            ),
            html.Div(id="try-legend", className="quiet"),
            html.Div(id="try-strip", className="try-strip", role="group", **{"aria-label": "Tokens of the answer"}),
            html.Div(id="try-details", className="try-details", role="region", **{"aria-label": "Next tokens"}),
        ],
        id="try-tokens",
        className="trust-section",
        hidden=True,
    )


def stores(target: dict[str, Any]) -> list[Any]:
    """Return the stores of the page. target: run or model, units and treatment of its address."""
    return [
        dcc.Store(id="try-target", data=target),
        dcc.Store(id="try-image"),
        dcc.Store(id="try-asked"),
        dcc.Store(id="try-prompt"),
        dcc.Store(id="try-done"),
        html.Div(id="try-followed", hidden=True),
    ]
