"""What is done to the chosen units instead of switching them off: a part of the tray that unfolds.

The page's selection holds the treatment; its script (assets/callbacks.js) sets these controls and reads them.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley.units import LIMITS, OFF, Treatment

FACTOR, OFFSET = 0.5, 2.0
MEANING = (
    "Scaled: their activation times a factor. At their mean: the mean over the probe examples. "
    "Offset: their activation plus so many of its standard deviations."
)


def layout(treatment: Treatment) -> Any:
    """The controls as an address wants them."""
    how = "off" if treatment == OFF else treatment.how
    factor = treatment.value if how == "scale" else FACTOR
    offset = treatment.value if how == "offset" else OFFSET
    choices = [("off", "Off"), ("scale", "Scaled"), ("mean", "At mean"), ("offset", "Offset")]
    return html.Details(
        [
            html.Summary("Instead of off …", id="treatment-words"),
            dmc.SegmentedControl(
                id="how",
                data=[{"value": value, "label": label} for value, label in choices],
                value=how,
                size="xs",
                fullWidth=True,
                **{"aria-label": "What is done to the chosen units"},
            ),
            _slider("factor", factor, 0.05, [0, 0.5, 1, 1.5, 2], "Factor", "scale"),
            _slider("offset", offset, 0.5, [-10, -5, 0, 5, 10], "Offset in standard deviations", "offset"),
            html.Div(MEANING, className="quiet"),
        ],
        id="treatment",
        className="section",
        open=treatment != OFF,
    )


def _slider(name: str, value: float, step: float, marks: list[float], label: str, how: Any) -> Any:
    low, high = LIMITS[how]
    slider = dmc.Slider(
        id=name,
        value=value,
        min=low,
        max=high,
        step=step,
        precision=2,
        size="sm",
        labelAlwaysOn=True,
        marks=[{"value": mark, "label": f"{mark:g}".replace("-", "\u2212")} for mark in marks],
        thumbLabel=label,
    )
    return html.Div(
        [html.Div(label, className="quiet"), html.Div(slider, className="share labelled")],
        id=f"{name}-frame",
    )
