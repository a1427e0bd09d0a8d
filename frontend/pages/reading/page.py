"""The page "How to read this map": what the cells, colours and figures mean, and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from frontend.links import link

SECTIONS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "What a cell is",
        (
            "A row is a layer; the first layer is at the top. A cell is one unit of that layer: a neuron of its MLP, "
            "an attention head, or the layer as a whole. Where there are more neurons than pixels, a cell is several "
            "neighbours, and shows the one with the largest score; zoom in to see each.",
        ),
    ),
    (
        "What a colour means",
        (
            "The stronger the colour, the more the task depends on the unit: the score estimates by how much the loss "
            "on one example grows when the unit is removed. Each panel has its own range, so compare cells within a "
            'panel; "Share of total" and "Percentile" compare across panels.',
            "Methods whose scores have a sign use two colours: units that help, and units that hurt. A score is an "
            "estimate from the probe examples; its standard error stands in the list of ranked units.",
        ),
    ),
    (
        "What the number means",
        (
            "The accuracy in the tray is measured, not predicted: the model runs on test examples that the scores were "
            "not computed on, with the chosen units off. The change is against the intact model on the same examples, "
            "so that luck with the examples cancels; the range in brackets is its 95\u00a0% interval. If the range "
            "includes 0, the units made no difference that could be measured.",
            "While a measurement goes on, the change so far is grey. The map's prediction stands beside it.",
        ),
    ),
    (
        "How to switch units off",
        (
            "Click a cell, or drag a box. Click again to switch it on. The slider switches off a share of the ranking. "
            "Undo and the browser's Back are the same. The address holds the selection: copy it to share what you see.",
            "Other interventions scale a unit, hold it at its mean over the probe examples, or add an offset.",
        ),
    ),
    (
        "How far to trust a map",
        (
            "The line above the map is a measured verdict. Reliable: removing the least important units costs clearly "
            "less than random ones, and a second test agrees. Preliminary: the same, on thin evidence. Partly "
            "reliable: the tests leave doubt. Unreliable: no better than chance, or worse.",
            "Importance is for this model, this task and these examples. Units that back each other up can each look "
            "unimportant, and matter when they are removed together: measure before you conclude.",
        ),
    ),
)


def layout() -> Any:
    """Lay out the page."""
    return html.Article(
        [
            dmc.Title("How to read this map", order=1, size="h2", mb="md"),
            *[_section(title, paragraphs) for title, paragraphs in SECTIONS],
            html.P(["More: the formulas of all methods are under “How is this computed?” on each map. ", _back()]),
        ],
        className="reading",
    )


def _section(title: str, paragraphs: Sequence[str]) -> Any:
    return html.Section([dmc.Title(title, order=2, size="h4"), *[html.P(text) for text in paragraphs]])


def _back() -> Any:
    return dcc.Link("Back to the runs", href=link("/"))
