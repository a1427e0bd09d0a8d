"""Units: the players of the game, their shapes and ids, and sets of them that are switched off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from modelshapley.errors import UnitOutOfRange


class UnitKind(StrEnum):
    """Granularities at which a model is scored (paper, section 3; our definitions: docs/method.md).

    NEURON (l, j): input channel j of the last MLP projection of layer l.
    HEAD (l, h): slice h of the input of the attention output projection of layer l.
    LAYER (l,): everything layer l adds to the residual stream.
    """

    NEURON = "neuron"
    HEAD = "head"
    LAYER = "layer"


Unit = tuple[int, ...]


@dataclass(frozen=True)
class UnitShapes:
    """How many units of each kind a model has.

    Attributes: layers, heads (query heads a layer), neurons (MLP channels a layer).
    """

    layers: int
    heads: int
    neurons: int

    def of(self, kind: UnitKind) -> tuple[int, ...]:
        """Shape of a score array: (layers, neurons), (layers, heads) or (layers,)."""
        return {
            UnitKind.NEURON: (self.layers, self.neurons),
            UnitKind.HEAD: (self.layers, self.heads),
            UnitKind.LAYER: (self.layers,),
        }[kind]

    @classmethod
    def from_dict(cls, shapes: Mapping[UnitKind, Sequence[int]]) -> UnitShapes:
        """The reverse of :meth:`as_dict`."""
        return cls(
            layers=shapes[UnitKind.LAYER][0], heads=shapes[UnitKind.HEAD][1], neurons=shapes[UnitKind.NEURON][1]
        )

    def count(self, kind: UnitKind) -> int:
        return int(np.prod(self.of(kind)))

    def as_dict(self) -> dict[UnitKind, list[int]]:
        return {kind: list(self.of(kind)) for kind in UnitKind}


def unit_name(kind: UnitKind, unit: Unit) -> str:
    """What a person reads: 'head 3.7' is head 7 of layer 3 (both from 0); 'layer 3'."""
    return f"{kind.value} {'.'.join(str(i) for i in unit)}"


@dataclass(frozen=True)
class Deactivation:
    """A set of units that are switched off: their activation is 0 at every position.

    ``units[kind]`` is a sorted tuple of indices without repeats, so equal sets compare equal
    and give the same ``key()``. Build it with :meth:`of`.
    """

    units: tuple[tuple[UnitKind, tuple[Unit, ...]], ...] = ()

    @classmethod
    def of(cls, off: Mapping[UnitKind, Iterable[Iterable[int] | int]]) -> Deactivation:
        """From {kind: indices}; an index is a tuple (layer, i), or a bare int for a layer."""
        kinds = []
        for kind in UnitKind:
            given = off.get(kind, ())
            indices = {(i,) if isinstance(i, int) else tuple(int(x) for x in i) for i in given}
            if indices:
                kinds.append((kind, tuple(sorted(indices))))
        return cls(tuple(kinds))

    @classmethod
    def from_masks(cls, masks: Mapping[UnitKind, npt.NDArray[np.bool_]]) -> Deactivation:
        """From {kind: boolean array of that kind's shape, True = off}."""
        return cls.of({kind: [tuple(i) for i in np.argwhere(mask).tolist()] for kind, mask in masks.items()})

    def of_kind(self, kind: UnitKind) -> tuple[Unit, ...]:
        return dict(self.units).get(kind, ())

    def counts(self) -> dict[UnitKind, int]:
        return {kind: len(self.of_kind(kind)) for kind in UnitKind}

    def mask(self, kind: UnitKind, shapes: UnitShapes) -> npt.NDArray[np.bool_]:
        """Boolean array of ``shapes.of(kind)``, True where the unit is off."""
        mask = np.zeros(shapes.of(kind), dtype=bool)
        for unit in self.of_kind(kind):
            mask[unit] = True
        return mask

    def check(self, shapes: UnitShapes) -> None:
        """Raise UnitOutOfRange for the first unit that a model of these shapes does not have."""
        for kind, units in self.units:
            shape = shapes.of(kind)
            for unit in units:
                if len(unit) != len(shape):
                    raise UnitOutOfRange(
                        f"A {kind.value} is named by {len(shape)} number(s), but {list(unit)} has {len(unit)}."
                    )
                for axis, (index, size) in enumerate(zip(unit, shape, strict=True)):
                    if not 0 <= index < size:
                        what = "layer" if axis == 0 else kind.value
                        raise UnitOutOfRange(
                            f"{kind.value} {list(unit)}: {what}s go from 0 to {size - 1} here, not {index}."
                        )

    def key(self) -> str:
        """Canonical text; equal deactivations have equal keys."""
        return ";".join(
            f"{kind.value}:" + ",".join(".".join(map(str, unit)) for unit in units) for kind, units in self.units
        )

    def describe(self) -> str:
        """A few words: the units' names while they are few, else how many of each kind."""
        if len(self) <= 3:
            return ", ".join(unit_name(kind, unit) for kind, units in self.units for unit in units) or "nothing"
        return ", ".join(f"{len(units):,} {kind.value}{'s' * (len(units) > 1)}" for kind, units in self.units)

    def __len__(self) -> int:
        return sum(len(units) for _, units in self.units)


def extreme_units(scores: npt.NDArray[np.floating], kind: UnitKind, which: str, fraction: float) -> Deactivation:
    """The ``fraction`` of units with the lowest ('least') or highest ('most') scores.

    The count is rounded to the nearest whole unit (halves up); equal scores are taken in unit order.
    Scores are ranked as they are: on a signed map 'least' are the most harmful units.
    """
    order = np.argsort(scores.reshape(-1) * (1 if which == "least" else -1), kind="stable")
    count = int(np.floor(fraction * scores.size + 0.5))
    chosen = order[:count]
    indices = np.stack(np.unravel_index(chosen, scores.shape), axis=1)
    return Deactivation.of({kind: [tuple(i) for i in indices.tolist()]})
