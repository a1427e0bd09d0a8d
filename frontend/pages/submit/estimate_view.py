"""The estimated cost of a run, as text beside the form. Pure."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley import formatting
from modelshapley.contracts import Estimate, Memory, Pace
from modelshapley.formatting import bytes_as_text


def view(estimate: Estimate) -> Any:
    """Lay out warnings and the estimated work, time and memory."""
    alerts = [
        dmc.Alert(problem, color="yellow", variant="light", title="Before you submit") for problem in estimate.problems
    ]
    return dmc.Stack(
        [
            *alerts,
            html.Dl(
                [
                    _fact("Work", work(estimate)),
                    _fact("Time", time(estimate.pace, estimate)),
                    _fact("Memory", memory(estimate.memory)),
                ],
                className="estimate",
            ),
            _bar(estimate.memory),
        ],
        gap="sm",
    )


def _fact(name: str, text: str) -> Any:
    return html.Div([html.Dt(name), html.Dd(text)])


def work(estimate: Estimate) -> str:
    """Write the passes: '1 backward pass over each of 256 examples.'"""
    number = f"{estimate.examples:,}" if estimate.exact else f"at most {estimate.examples:,}"
    parts = []
    if estimate.passes:
        parts.append(f"{estimate.passes:,} backward pass{'es' * (estimate.passes != 1)}")
    if estimate.forwards:
        parts.append(f"{estimate.forwards:,} forward passes")
    if not parts:
        return "No passes. These methods use no examples."
    text = f"{' and '.join(parts)} over each of {number} examples."
    return f"At most {text}" if estimate.passes > 1 else text


def time(pace: Pace | None, estimate: Estimate) -> str:
    """Write the time: 'About 12 s (9 s to 20 s) on one worker, based on 5 earlier runs.'"""
    if pace is None:
        if not estimate.passes and not estimate.forwards:
            return "The time to load the model and measure its intact accuracy."
        return "Unknown. There are no earlier runs of this model."
    fast, slow = (formatting.duration(end) for end in pace.between)
    between = f" ({fast} to {slow})" if pace.runs > 1 and fast != slow else ""
    runs = "1 earlier run" if pace.runs == 1 else f"{pace.runs} earlier runs"
    text = f"About {formatting.duration(pace.seconds)}{between} on one worker, based on {runs}"
    if pace.of == "model and task":
        return f"{text}."
    return f"{text} of this model on other tasks, whose examples may be longer or shorter."


def memory(estimate: Memory) -> str:
    """Write the memory: '500 MiB of weights (float32), and up to about 2.0 GiB for a batch.'"""
    size = "Weights of unknown size" if estimate.weights is None else f"{bytes_as_text(estimate.weights)} of weights"
    device = f" The device has {bytes_as_text(estimate.there)}." if estimate.there is not None else ""
    batch = f"{size} ({estimate.dtype}), and up to about {bytes_as_text(estimate.activations)} for a batch.{device}"
    short = estimate.there is not None and (estimate.weights or 0) + estimate.activations > estimate.there
    return batch + (" Batches are halved until they fit." if short else "")


def _bar(estimate: Memory) -> Any:
    if not estimate.there or estimate.weights is None:
        return None
    parts = [("weights", estimate.weights, "blue.8"), ("a batch, estimated", estimate.activations, "gray.6")]
    sections = [
        dmc.ProgressSection(value=min(100 * size / estimate.there, 100), color=colour, **{"aria-label": name})
        for name, size, colour in parts
    ]
    return dmc.ProgressRoot(sections, size="md")
