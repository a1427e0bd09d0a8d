"""The two maps of the compare page: their address, and the differences in how they were computed.

`/compare?a=RUN:METHOD[:CLASS]&b=RUN:METHOD[:CLASS]&unit=head&top=5`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote

from modelshapley import formatting
from modelshapley.contracts import Run
from modelshapley.maps.compare import differences
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

TOPS = (1, 5, 10, 20)  # percent
MOST_TEXT = 400


@dataclass(frozen=True)
class Choice:
    """One of the two maps. label: its class of examples, if it is of one."""

    run: str
    method: str
    label: str | None = None

    def write(self) -> str:
        """Write the choice as the address has it."""
        return ":".join(filter(None, [self.run, self.method, self.label]))


@dataclass(frozen=True)
class Pair:
    """The content of an address; None where a part is missing or not valid. unclear: the parts that are not valid."""

    a: Choice | None = None
    b: Choice | None = None
    unit: UnitKind | None = None
    top: int = 5
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """A map to compare, and its run."""

    run: Run
    choice: Choice
    map: ImportanceMap


def parse(search: str) -> Pair:
    """Read the query part of an address. Whether the maps exist is checked elsewhere."""
    query = {key: values[-1][:MOST_TEXT] for key, values in parse_qs(search.removeprefix("?")).items()}
    unclear = []
    sides: dict[str, Choice | None] = {}
    for name in ("a", "b"):
        run, _, rest = query.get(name, "").partition(":")
        method, _, label = rest.partition(":")
        sides[name] = Choice(run, method, label or None) if run and method else None
        if name in query and sides[name] is None:
            unclear.append(f"{name}={query[name]}")
    unit = next((kind for kind in UnitKind if kind.value == query.get("unit")), None)
    if "unit" in query and unit is None:
        unclear.append(f"unit={query['unit']}")
    top = next((top for top in TOPS if str(top) == query.get("top")), None)
    if "top" in query and top is None:
        unclear.append(f"top={query['top']}")
    return Pair(sides["a"], sides["b"], unit, top or 5, tuple(unclear))


def write(a: Choice, b: Choice, unit: UnitKind, top: int) -> str:
    """Write the query part of an address."""
    return f"?a={quote(a.write(), safe=':,')}&b={quote(b.write(), safe=':,')}&unit={unit.value}&top={top}"


def describe_differences(a: Side, b: Side) -> tuple[list[str], list[str]]:
    """Return differences in how two maps were computed: warnings, where scores mean something else, and notes."""
    provenance = differences(a.map, b.map)
    warnings = [describe(provenance) for describe in (_models, _tasks, _classes, _halves, _precision)]
    notes = [describe(provenance) for describe in (_methods, _counts)]
    return [text for text in warnings if text], [text for text in notes if text]


# By name, what the provenance of A and of B says, where they differ.
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


def _classes(differing: Differences) -> str | None:
    if "class" not in differing:
        return None
    names = [f"class {name}" if name is not None else "all classes" for name in differing["class"]]
    return f"Different examples: {names[0]} in A, {names[1]} in B."


def _halves(differing: Differences) -> str | None:
    return None if "half" not in differing else "One of the maps uses only half of the probe set."


def _precision(differing: Differences) -> str | None:
    return None if "dtype" not in differing else f"Different precision: {' and '.join(map(str, differing['dtype']))}."


def _methods(differing: Differences) -> str | None:
    if "method" not in differing:
        return None
    return "Different methods: compare ranks and shares only."


def _counts(differing: Differences) -> str | None:
    if "n" not in differing:
        return None
    one, other = differing["n"]
    return f"A was scored on {one} examples, B on {other}. Fewer examples mean noisier scores."


def unequal(a: Side, b: Side, unit: UnitKind) -> str | None:
    """Say why two maps cannot be compared unit by unit; None where they can."""
    shapes = [side.map.scores[unit].shape for side in (a, b)]
    if shapes[0] == shapes[1]:
        return None
    one, other = (" x ".join(f"{size:,}" for size in shape) for shape in shapes)
    return (
        f"The maps of {formatting.PLURALS[unit]} have different shapes: {one} (layers x units) in A, {other} in B. "
        "Choose two runs of models with the same shape."
    )
