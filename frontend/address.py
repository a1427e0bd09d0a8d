"""The address of a screen: which map is shown and what is switched off. Pure.

`/runs/ID?method=two-sided&unit=head&off=head:0.1,2.3-5;layer:4`, or, for a share of the ranking,
`&off=least:0.2:head:two-sided`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from modelshapley.units import Deactivation, UnitKind

RUN_PATH = re.compile(r"^/runs/([0-9A-Za-z_-]{1,64})/?$")
MAX_INDEX = 1_000_000
MAX_UNITS = 500_000


@dataclass(frozen=True)
class Ranked:
    """'The 20 % least important heads by two-sided'."""

    which: str
    fraction: float
    unit: UnitKind
    method: str


@dataclass(frozen=True)
class View:
    """What a map's address says; None where it says nothing, or nothing that can be understood."""

    method: str | None = None
    unit: UnitKind | None = None
    off: Deactivation | Ranked | None = None


def run_of(path: str) -> str | None:
    """The run id in a path, if it is a map's."""
    found = RUN_PATH.match(path)
    return found.group(1) if found else None


def parse(search: str) -> View:
    """Read the query part. What cannot be understood is left out; ranges of indices are checked elsewhere."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    unit = query.get("unit")
    return View(
        method=query.get("method"),
        unit=UnitKind(unit) if unit in set(UnitKind) else None,
        off=_off(query.get("off", "")),
    )


def write(run: str, view: View) -> str:
    """The address of a view."""
    parts = []
    if view.method:
        parts.append(f"method={quote(view.method)}")
    if view.unit:
        parts.append(f"unit={view.unit.value}")
    if isinstance(view.off, Ranked):
        parts.append(f"off={view.off.which}:{view.off.fraction:g}:{view.off.unit.value}:{quote(view.off.method)}")
    elif view.off:
        parts.append(f"off={write_off(view.off)}")
    return f"/runs/{run}" + ("?" + "&".join(parts) if parts else "")


def write_off(deactivation: Deactivation) -> str:
    """Runs of neighbours are written as ranges: 'head:0.1,2.3-5;layer:4'."""
    groups = []
    for kind, units in deactivation.units:
        spans: list[tuple[tuple[int, ...], int]] = []
        for unit in units:
            if spans and spans[-1][0][:-1] == unit[:-1] and spans[-1][1] == unit[-1] - 1:
                spans[-1] = (spans[-1][0], unit[-1])
            else:
                spans.append((unit, unit[-1]))
        texts = [".".join(map(str, first)) + (f"-{last}" if last > first[-1] else "") for first, last in spans]
        groups.append(f"{kind.value}:{','.join(texts)}")
    return ";".join(groups)


def _off(text: str) -> Deactivation | Ranked | None:
    parts = text.split(":")
    if parts[0] in ("least", "most"):
        return _ranked(parts)
    off: dict[UnitKind, list[tuple[int, ...]]] = {}
    count = 0
    for group in filter(None, text.split(";")):
        name, _, spans = group.partition(":")
        if name not in set(UnitKind):
            continue
        kind = UnitKind(name)
        pattern = re.compile(r"(\d+)(?:-(\d+))?" if kind is UnitKind.LAYER else r"(\d+)\.(\d+)(?:-(\d+))?")
        for span in spans.split(","):
            found = pattern.fullmatch(span)
            if found is None:
                continue
            *before, last = found.groups()
            numbers = [int(number) for number in before if number is not None]
            end = int(last) if last is not None else numbers[-1]
            count += end - numbers[-1] + 1
            if end > MAX_INDEX or count > MAX_UNITS:
                return None
            off.setdefault(kind, []).extend((*numbers[:-1], i) for i in range(numbers[-1], end + 1))
    return Deactivation.of(off) if off else None


def _ranked(parts: list[str]) -> Ranked | None:
    try:
        which, fraction, unit, method = parts
        ranked = Ranked(which, float(fraction), UnitKind(unit), method)
    except ValueError:
        return None
    return ranked if 0 <= ranked.fraction <= 1 else None
