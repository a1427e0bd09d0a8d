"""Two maps of the compare page, and the differences in how they were computed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frontend.pages.compare.address import Choice
from modelshapley import formatting
from modelshapley.contracts import Run
from modelshapley.maps.compare import differences
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind


@dataclass(frozen=True)
class Side:
    """A map to compare, its run, and its name, which no other map of the page has."""

    run: Run
    choice: Choice
    map: ImportanceMap
    name: str


def describe_differences(a: Side, b: Side) -> tuple[list[str], list[str]]:
    """Return differences in how two maps were computed: warnings, where scores mean something else, and notes."""
    provenance = differences(a.map, b.map)
    warnings = [describe(provenance) for describe in (_models, _tasks, _halves, _precision)]
    warnings.insert(2, _classes(provenance, a.name, b.name))
    notes = [_methods(provenance), _counts(provenance, a.name, b.name)]
    return [text for text in warnings if text], [text for text in notes if text]


# By name, what the provenance of the first and of the second map says, where they differ.
Differences = Mapping[str, tuple[Any, Any]]


def _models(differing: Differences) -> str | None:
    if "model" in differing:
        one, other = differing["model"]
        return f"Different models, {one} and {other}. Units correspond only if one model was derived from the other."
    if "revision" in differing:
        one, other = (str(value)[:12] for value in differing["revision"])
        return f"The model's files differ (revisions {one} and {other})."
    return None


def _tasks(differing: Differences) -> str | None:
    if "task_fingerprint" not in differing:
        return None
    one, other = (str(value)[:12] for value in differing["task_fingerprint"])
    prints = f"fingerprints {one} and {other}"
    if "task" in differing:
        tasks = " and ".join(differing["task"])
        return f"Different tasks, {tasks} ({prints}). The maps show what each task depends on."
    if "seed" in differing:
        seeds = " and ".join(map(str, differing["seed"]))
        return f"Different seeds, {seeds}. The probe examples differ ({prints}), so scores also differ by chance."
    return f"The data, prompt or splits of the task differ ({prints})."


def _classes(differing: Differences, one: str, other: str) -> str | None:
    if "class" not in differing:
        return None
    names = [f"class {name}" if name is not None else "all classes" for name in differing["class"]]
    return f"Different examples: {names[0]} in {one}, {names[1]} in {other}."


def _halves(differing: Differences) -> str | None:
    return None if "half" not in differing else "One of the maps uses only half of the probe set."


def _precision(differing: Differences) -> str | None:
    return None if "dtype" not in differing else f"Different precision: {' and '.join(map(str, differing['dtype']))}."


def _methods(differing: Differences) -> str | None:
    if "method" not in differing:
        return None
    return "Different methods: compare ranks and shares only."


def _counts(differing: Differences, one: str, other: str) -> str | None:
    if "n" not in differing:
        return None
    n, m = differing["n"]
    return f"{one} was scored on {n} examples, {other} on {m}. Fewer examples mean noisier scores."


def unequal(a: Side, b: Side, unit: UnitKind) -> str | None:
    """Say why two maps cannot be compared unit by unit; None where they can."""
    shapes = [side.map.scores[unit].shape for side in (a, b)]
    if shapes[0] == shapes[1]:
        return None
    one, other = (" x ".join(f"{size:,}" for size in shape) for shape in shapes)
    return (
        f"The maps of {formatting.PLURALS[unit]} have different shapes: {one} (layers x units) in {a.name}, "
        f"{other} in {b.name}. "
        "Choose two runs of models with the same shape."
    )
