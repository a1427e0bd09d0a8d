"""The part of a form that chooses units: a kind, a share of the most important, and the map that ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley import formatting
from modelshapley.contracts import MethodInfo, Run
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

MOST_PERCENT = 50


def controls(use: str, title: str, run: Run, kinds: Sequence[UnitKind], infos: dict[str, MethodInfo]) -> list[Any]:
    """Return the inputs, whose ids begin with `use`; kinds: at least one. Their values are read by :func:`most`."""
    choices = [{"value": kind.value, "label": formatting.PLURALS[kind].capitalize()} for kind in kinds]
    return [
        html.Div(
            [
                dmc.Text(title, size="sm", fw=500, mb=4),
                dmc.SegmentedControl(
                    id=f"{use}-kind", data=choices, value=choices[0]["value"], fullWidth=True, **{"aria-label": title}
                ),
            ]
        ),
        html.Div(
            [
                dmc.Text("Share of them, the most important", size="sm", fw=500, mb=4),
                dmc.Slider(
                    id=f"{use}-share",
                    value=10,
                    min=1,
                    max=MOST_PERCENT,
                    step=1,
                    updatemode="mouseup",
                    marks=[{"value": mark, "label": f"{mark} %"} for mark in (10, 20, 30, 40, 50)],
                    thumbLabel="Share of the units, in percent",
                ),
            ],
            className="share",
        ),
        dmc.Select(
            id=f"{use}-method",
            label="Most important by",
            data=[{"value": m, "label": formatting.method(m, infos)} for m in run.methods],
            value=run.methods[0],
            allowDeselect=False,
        ),
    ]


def most(kind: str, share: int) -> dict[UnitKind, float]:
    """Return the shares of units of a request for what the inputs hold."""
    return {UnitKind(kind): share / 100}


def whole_number(value: Any, name: str, least: int, largest: int) -> int:
    """Return a number that somebody typed. Raises ModelShapleyError for what is none, or too small or large."""
    if isinstance(value, int) and least <= value <= largest:
        return value
    raise ModelShapleyError(f"{name} should be a whole number from {least:,} to {largest:,}.")


def number(use: str, name: str, label: str, value: int, step: int = 1) -> Any:
    """An input for a whole number. It does not clamp: a wrong value is reported instead."""
    return dmc.NumberInput(
        id=f"{use}-{name}", label=label, value=value, min=1, step=step, allowDecimal=False, clampBehavior="none"
    )
