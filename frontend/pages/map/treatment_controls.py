"""The tray's section "Other interventions": scaling, mean and offset instead of switching off.

The page's selection holds the treatment; assets/callbacks.js keeps these controls and the selection in step.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley.units import LIMITS, OFF, Treatment

FACTOR, OFFSET = 0.5, 2.0
MEANING = (
    "Scale: the activation times a factor. Mean: the activation's mean over the probe examples. "
    "Offset: the activation plus a number of its standard deviations."
)


def layout(treatment: Treatment) -> Any:
    """Lay out the controls for a treatment."""
    how = "off" if treatment == OFF else treatment.how
    factor = treatment.value if how == "scale" else FACTOR
    offset = treatment.value if how == "offset" else OFFSET
    choices = [("off", "Off"), ("scale", "Scale"), ("mean", "Mean"), ("offset", "Offset")]
    return html.Details(
        [
            html.Summary("Other interventions", id="treatment-text"),
            dmc.SegmentedControl(
                id="how",
                data=[{"value": value, "label": label} for value, label in choices],
                value=how,
                size="xs",
                fullWidth=True,
                **{"aria-label": "Intervention on the selected units"},
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
