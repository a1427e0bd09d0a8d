"""The address of the compare page: which maps, which pair of them, which kind of unit. Pure.

`/compare?a=RUN:METHOD[:CLASS]&b=RUN:METHOD[:CLASS]&...&h=...&pair=ac&unit=head&top=5`, with two to eight maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from modelshapley.maps.rank_matrix import MOST_MAPS
from modelshapley.units import UnitKind

SLOTS = "abcdefgh"[:MOST_MAPS]
TOPS = (1, 5, 10, 20)  # percent
MOST_TEXT = 400


@dataclass(frozen=True)
class Choice:
    """One of the maps. label: its class of examples, if it is of one."""

    run: str
    method: str
    label: str | None = None

    def write(self) -> str:
        """Write the choice as the address has it."""
        return ":".join(filter(None, [self.run, self.method, self.label]))


@dataclass(frozen=True)
class Comparison:
    """The content of an address; None where a part is missing or not valid.

    maps: by slot. pair: the slots of the two maps in detail. unclear: the parts that are not valid.
    """

    maps: tuple[Choice | None, ...] = ()
    pair: tuple[int, int] = (0, 1)
    unit: UnitKind | None = None
    top: int = 5
    unclear: tuple[str, ...] = ()


def parse(search: str) -> Comparison:
    """Read the query part of an address. Whether the maps exist is checked elsewhere."""
    query = {key: values[-1][:MOST_TEXT] for key, values in parse_qs(search.removeprefix("?")).items()}
    maps, unclear = _maps(query)
    pair = _pair(query.get("pair"), maps)
    unit = next((kind for kind in UnitKind if kind.value == query.get("unit")), None)
    top = next((top for top in TOPS if str(top) == query.get("top")), None)
    for name, value in (("pair", pair), ("unit", unit), ("top", top)):
        if name in query and value is None:
            unclear.append(f"{name}={query[name]}")
    return Comparison(maps, pair or (0, 1), unit, top or 5, tuple(unclear))


def _maps(query: Mapping[str, str]) -> tuple[tuple[Choice | None, ...], list[str]]:
    """Read the maps by slot, and name the parts that are none."""
    found: dict[int, Choice] = {}
    unclear = []
    for name in filter(lambda key: len(key) == 1, query):
        choice = _choice(query[name])
        if name in SLOTS and choice is not None:
            found[SLOTS.index(name)] = choice
        else:
            unclear.append(f"{name}={query[name]}")
    return tuple(found.get(slot) for slot in range(max(found, default=-1) + 1)), unclear


def _choice(text: str) -> Choice | None:
    run, _, rest = text.partition(":")
    method, _, label = rest.partition(":")
    return Choice(run, method, label or None) if run and method else None


def _pair(text: str | None, maps: Sequence[Choice | None]) -> tuple[int, int] | None:
    """Read two letters of slots that hold maps; None where they are something else."""
    slots = [SLOTS.find(letter) for letter in text or ""]
    known = [slot for slot in slots if 0 <= slot < len(maps) and maps[slot] is not None]
    return (known[0], known[1]) if len(slots) == len(known) == len(set(known)) == 2 else None


def write(choices: Sequence[Choice], pair: tuple[int, int], unit: UnitKind, top: int) -> str:
    """Write the query part of an address."""
    parts = [f"{slot}={quote(choice.write(), safe=':,')}" for slot, choice in zip(SLOTS, choices, strict=False)]
    if pair != (0, 1):
        parts.append("pair=" + "".join(SLOTS[slot] for slot in pair))
    return f"?{'&'.join(parts)}&unit={unit.value}&top={top}"
