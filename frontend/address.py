"""The addresses of the pages of a run, which hold the map and the selection. Pure.

`/runs/ID?method=two-sided&unit=head&off=head:0.1,2.3-5;layer:4`, or, for a share of the ranking,
`&off=least:0.2:head:two-sided`; `&do=scale:0.5` for another intervention than switching off;
`&look=percentile,sorted` for colours and order (frontend.display); `&class=Africa` for the map of one class.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from frontend.display import PLAIN, Display
from frontend.display import parse as parse_display
from frontend.display import write as write_display
from frontend.links import link
from modelshapley.contracts import Run
from modelshapley.methods import reading_of
from modelshapley.units import OFF, Deactivation, Treatment, UnitKind

TRUST_PATH = re.compile(r"^/runs/([0-9A-Za-z_-]{1,64})/trust/?$")
APPLY_PATH = re.compile(r"^/runs/([0-9A-Za-z_-]{1,64})/apply/?$")
RUN_PATH = re.compile(r"^/runs/([0-9A-Za-z_-]{1,64})/?$")
SPAN = {
    **{kind: re.compile(r"(\d{1,7})\.(\d{1,7})(?:-(\d{1,7}))?", re.ASCII) for kind in UnitKind},
    UnitKind.LAYER: re.compile(r"(\d{1,7})(?:-(\d{1,7}))?", re.ASCII),
}
MAX_INDEX = 1_000_000
MAX_UNITS = 500_000


@dataclass(frozen=True)
class Ranked:
    """A share of a ranking, such as the 20 % least important heads by two-sided."""

    which: str
    fraction: float
    unit: UnitKind
    method: str


@dataclass(frozen=True)
class View:
    """The content of a map's address; None where a part is missing or not valid.

    unclear: the parts that are not valid. An `off` with one such part, or with a `do` that is not valid, is ignored as
    a whole: otherwise another deactivation than the link's would be measured.
    """

    method: str | None = None
    unit: UnitKind | None = None
    off: Deactivation | Ranked | None = None
    unclear: tuple[str, ...] = ()
    treatment: Treatment = OFF
    display: Display = PLAIN
    label: str | None = None


def run_of(path: str) -> str | None:
    """Return the run id in a path of a map page; None for other paths."""
    match = RUN_PATH.match(path)
    return match.group(1) if match else None


def trust_run_of(path: str) -> str | None:
    """Return the run id in a path of a trust page; None for other paths."""
    match = TRUST_PATH.match(path)
    return match.group(1) if match else None


def apply_run_of(path: str) -> str | None:
    """Return the run id in a path of a page Apply; None for other paths."""
    match = APPLY_PATH.match(path)
    return match.group(1) if match else None


def apply(run: str) -> str:
    """Write the address of a page Apply."""
    return link(f"/runs/{run}/apply")


def trust(run: str, method: str, unit: UnitKind) -> str:
    """Write the address of a trust page."""
    return link(f"/runs/{run}/trust?method={quote(method)}&unit={unit.value}")


def parse(search: str) -> View:
    """Read the query part of an address. Whether the model has these units is checked elsewhere."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    unit, text = query.get("unit"), query.get("off", "")
    kind = next((known for known in UnitKind if known.value == unit), None)
    unclear = [f"unit={unit}"] if unit is not None and kind is None else []
    try:
        off = _off(text)
    except ValueError as error:
        off = None
        unclear.append(f"off={error}")
    try:
        treatment = _treatment(query.get("do"))
    except ValueError:
        off, treatment = None, OFF
        unclear.append(f"do={_clipped(query['do'])}")
    try:
        display = parse_display(query.get("look", ""))
    except ValueError as error:
        display = PLAIN
        unclear.append(f"look={_clipped(str(error))}")
    return View(query.get("method"), kind, off, tuple(unclear), treatment, display, query.get("class"))


def resolve(run: Run, view: View) -> View:
    """Return the map of a view: its method and class, or the run's defaults where it names none or unknown ones."""
    known = view.method is not None and reading_of(view.method, run.methods) is not None
    return View(
        method=view.method if known else run.methods[0],
        display=view.display,
        label=view.label if view.label in run.classes else None,
    )


def write(run: str, view: View) -> str:
    """Write the address of a view."""
    parts = []
    if view.method:
        parts.append(f"method={quote(view.method)}")
    if view.unit:
        parts.append(f"unit={view.unit.value}")
    if isinstance(view.off, Ranked):
        parts.append(f"off={view.off.which}:{view.off.fraction:g}:{view.off.unit.value}:{quote(view.off.method)}")
    elif view.off:
        parts.append(f"off={write_off(view.off)}")
    if view.treatment != OFF:
        value = "" if view.treatment.how == "mean" else f":{view.treatment.value:g}"
        parts.append(f"do={view.treatment.how}{value}")
    if view.display != PLAIN:
        parts.append(f"look={write_display(view.display)}")
    if view.label is not None:
        parts.append(f"class={quote(view.label)}")
    return link(f"/runs/{run}" + ("?" + "&".join(parts) if parts else ""))


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
    """Read the value of `off`. Raises ValueError with the part that is not valid."""
    if text.partition(":")[0] in ("least", "most"):
        return _ranked(text)
    off: dict[UnitKind, list[tuple[int, ...]]] = {}
    count = 0
    for group in filter(None, text.split(";")):
        name, _, spans = group.partition(":")
        if name not in set(UnitKind):
            raise ValueError(_clipped(group))
        kind = UnitKind(name)
        for span in spans.split(","):
            match = SPAN[kind].fullmatch(span)
            if match is None:
                raise ValueError(_clipped(f"{name}:{span}"))
            *before, last = match.groups()
            *outer, first = (int(number) for number in before)
            end = first if last is None else int(last)
            count += end - first + 1
            if end < first or end > MAX_INDEX or count > MAX_UNITS:
                raise ValueError(_clipped(f"{name}:{span}"))
            off.setdefault(kind, []).extend((*outer, i) for i in range(first, end + 1))
    return Deactivation.of(off) if off else None


def _treatment(text: str | None) -> Treatment:
    """Read the value of `do`: 'scale:0.5', 'mean' or 'offset:-2'. Raises ValueError."""
    if text is None:
        return OFF
    how, colon, value = text.partition(":")
    return Treatment(how, float(value) if colon else 0.0)  # type: ignore[arg-type]  # validated by the class


def _ranked(text: str) -> Ranked:
    try:
        which, fraction, unit, method = text.split(":")
        ranked = Ranked(which, float(fraction), UnitKind(unit), method)
    except ValueError as error:
        raise ValueError(_clipped(text)) from error
    if not 0 <= ranked.fraction <= 1:
        raise ValueError(_clipped(text))
    return ranked


def _clipped(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]} …"
