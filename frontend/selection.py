"""What the page's selection says, and set operations on units. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelshapley.units import OFF, Deactivation, Treatment, Unit, UnitKind

Units = set[Unit]
OPERATIONS: Mapping[str, Callable[[Units, Units], Units]] = {
    "both": Units.intersection,
    "either": Units.union,
    "only in A": Units.difference,
}


def chosen(selection: Mapping[str, Any]) -> Deactivation:
    """What the page holds."""
    treated = selection.get("treatment")
    units = {kind: selection.get(kind.value, ()) for kind in UnitKind}
    return Deactivation.of(units, Treatment(**treated) if treated else OFF)


def held(deactivation: Deactivation) -> dict[str, Any]:
    """Units as the page holds them; the reverse of :func:`chosen`, but for the treatment."""
    return {kind.value: [list(unit) for unit in deactivation.of_kind(kind)] for kind in UnitKind}


def combine(operation: str, a: Deactivation, b: Deactivation) -> Deactivation:
    """The units that are in both, in either, or only in A."""
    join = OPERATIONS[operation]
    return Deactivation.of({kind: join(set(a.of_kind(kind)), set(b.of_kind(kind))) for kind in UnitKind})
