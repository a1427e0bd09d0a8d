"""What a run will take, in words, beside the form. Pure."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from modelshapley import formatting
from modelshapley.contracts import Estimate, Memory, Pace
from modelshapley.formatting import bytes_as_text


def view(found: Estimate) -> Any:
    alerts = [
        dmc.Alert(problem, color="yellow", variant="light", title="Before you queue it") for problem in found.problems
    ]
    return dmc.Stack(
        [
            *alerts,
            html.Dl(
                [
                    _fact("Work", work(found)),
                    _fact("Time", time(found.pace, found)),
                    _fact("Memory", memory(found.memory)),
                ],
                className="estimate",
            ),
            _bar(found.memory),
        ],
        gap="sm",
    )


def _fact(name: str, told: str) -> Any:
    return html.Div([html.Dt(name), html.Dd(told)])


def work(found: Estimate) -> str:
    """'1 backward pass over each of 256 examples', 'no pass: nothing is computed from data'."""
    number = f"{found.examples:,}" if found.exact else f"at most {found.examples:,}"
    parts = []
    if found.passes:
        parts.append(f"{found.passes:,} backward pass{'es' * (found.passes != 1)}")
    if found.forwards:
        parts.append(f"{found.forwards:,} forward passes")
    if not parts:
        return "No pass over the examples: these methods look at none."
    told = f"{' and '.join(parts)} over each of {number} examples."
    return f"At most {told}" if found.passes > 1 else told


def time(pace: Pace | None, found: Estimate) -> str:
    """'About 12 s (9 to 20 s), as 5 runs of this model on this task took here.'"""
    if pace is None:
        if not found.passes and not found.forwards:
            return "The loading of the model and its intact accuracy."
        return "Not known yet: nothing was scored with this model here."
    fast, slow = (formatting.duration(end) for end in pace.between)
    between = f" ({fast} to {slow})" if pace.runs > 1 and fast != slow else ""
    runs = "1 run" if pace.runs == 1 else f"{pace.runs} runs"
    others = "on other tasks, whose examples may be of another length"
    on = "on this task" if pace.of == "model and task" else others
    return (
        f"About {formatting.duration(pace.seconds)}{between} on one worker, from start to end, told by {runs} of this "
        f"model {on}."
    )


def memory(found: Memory) -> str:
    unknown = "Weights of a size that is known once they are here"
    weights = unknown if found.weights is None else f"{bytes_as_text(found.weights)} of weights"
    there = f"; the device has {bytes_as_text(found.there)}" if found.there is not None else ""
    needed = f"{weights} ({found.dtype}), and up to about {bytes_as_text(found.activations)} for a batch{there}."
    short = found.there is not None and (found.weights or 0) + found.activations > found.there
    return needed + (" Batches are halved until they fit." if short else "")


def _bar(found: Memory) -> Any:
    if not found.there or found.weights is None:
        return None
    parts = [("weights", found.weights, "blue.8"), ("a batch, estimated", found.activations, "gray.6")]
    sections = [
        dmc.ProgressSection(value=min(100 * size / found.there, 100), color=colour, **{"aria-label": name})
        for name, size, colour in parts
    ]
    return dmc.ProgressRoot(sections, size="md")
