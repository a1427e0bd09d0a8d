"""The selection that the map page stores, as a deactivation; set operations on units. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelshapley.units import OFF, Deactivation, Treatment, Unit, UnitKind

Units = set[Unit]
# By the names of their buttons.
OPERATIONS: Mapping[str, Callable[[Units, Units], Units]] = {
    "both": Units.intersection,
    "either": Units.union,
    "only in A": Units.difference,
}


def deactivation_of(selection: Mapping[str, Any]) -> Deactivation:
    """Return the deactivation that a page's selection describes."""
    treatment = selection.get("treatment")
    units = {kind: selection.get(kind.value, ()) for kind in UnitKind}
    return Deactivation.of(units, Treatment(**treatment) if treatment else OFF)


def as_selection(deactivation: Deactivation) -> dict[str, Any]:
    """Return units as a page stores them: the reverse of :func:`deactivation_of`, without the treatment."""
    return {kind.value: [list(unit) for unit in deactivation.of_kind(kind)] for kind in UnitKind}


def combine(operation: str, a: Deactivation, b: Deactivation) -> Deactivation:
    """Return the units that are in both, in either, or only in A."""
    join = OPERATIONS[operation]
    return Deactivation.of({kind: join(set(a.of_kind(kind)), set(b.of_kind(kind))) for kind in UnitKind})
