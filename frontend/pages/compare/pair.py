"""Two maps side by side: which they are, as an address says it, and what was not the same when they were made.

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
    """One of the two maps; label: of one class of examples."""

    run: str
    method: str
    label: str | None = None

    def write(self) -> str:
        return ":".join(filter(None, [self.run, self.method, self.label]))


@dataclass(frozen=True)
class Pair:
    """What an address of the page says; None where it says nothing, or what cannot be understood: `unclear`."""

    a: Choice | None = None
    b: Choice | None = None
    unit: UnitKind | None = None
    top: int = 5
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """A map that is compared, and the run that it is of."""

    run: Run
    choice: Choice
    map: ImportanceMap


def parse(search: str) -> Pair:
    """Read the query part. Whether there are such maps is checked elsewhere."""
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
    """The query part of a pair's address."""
    return f"?a={quote(a.write(), safe=':,')}&b={quote(b.write(), safe=':,')}&unit={unit.value}&top={top}"


def apart(a: Side, b: Side) -> tuple[list[str], list[str]]:
    """What was not the same when the maps were made: what makes scores answer other questions, and the rest."""
    found = differences(a.map, b.map)
    warned = [sentence(found) for sentence in (_models, _tasks, _classes, _halves, _precision)]
    told = [sentence(found) for sentence in (_methods, _counts)]
    return [s for s in warned if s], [s for s in told if s]


Found = Mapping[str, tuple[Any, Any]]


def _models(found: Found) -> str | None:
    if "model" in found:
        one, other = found["model"]
        return (
            f"Different models, {one} and {other}: the same place holds the same unit only if one was made from "
            "the other."
        )
    if "revision" in found:
        one, other = (str(value)[:12] for value in found["revision"])
        return f"The model's files changed between the two (revisions {one} and {other})."
    return None


def _tasks(found: Found) -> str | None:
    if "task_fingerprint" not in found:
        return None
    one, other = (str(value)[:12] for value in found["task_fingerprint"])
    prints = f"fingerprints {one} and {other}"
    if "task" in found:
        tasks = " and ".join(found["task"])
        return f"Different tasks, {tasks} ({prints}): what differs here is what each of them needs."
    if "seed" in found:
        seeds = " and ".join(map(str, found["seed"]))
        return (
            f"Different seeds, {seeds}: the same task on other probe examples ({prints}), so scores differ by "
            "chance, too."
        )
    return f"The data, prompt or parts of the task changed between the two ({prints})."


def _classes(found: Found) -> str | None:
    if "class" not in found:
        return None
    names = [f"class {name}" if name is not None else "all classes" for name in found["class"]]
    return f"Different examples: {names[0]} in A, {names[1]} in B."


def _halves(found: Found) -> str | None:
    return None if "half" not in found else "One of the maps is of half of the probe set only."


def _precision(found: Found) -> str | None:
    return None if "dtype" not in found else f"Different precision: {' and '.join(map(str, found['dtype']))}."


def _methods(found: Found) -> str | None:
    if "method" not in found:
        return None
    return "Different methods measure different quantities: only order and shares can be held side by side."


def _counts(found: Found) -> str | None:
    if "n" not in found:
        return None
    one, other = found["n"]
    return f"A was scored on {one} examples, B on {other}: the fewer, the noisier the scores."


def unequal(a: Side, b: Side, unit: UnitKind) -> str | None:
    """A sentence where two maps cannot be held side by side unit by unit; None where they can."""
    shapes = [side.map.scores[unit].shape for side in (a, b)]
    if shapes[0] == shapes[1]:
        return None
    one, other = (" x ".join(f"{size:,}" for size in shape) for shape in shapes)
    return (
        f"The maps of {formatting.PLURALS[unit]} have unequal shapes: {one} (layers x units) in A, {other} in B. Only "
        "models of equal shape can be compared unit by unit; choose another run for A or B."
    )
