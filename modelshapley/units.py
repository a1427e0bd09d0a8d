"""Units: the players of the game, their shapes and ids, and deactivations of sets of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from modelshapley.errors import BadTreatment, UnitOutOfRange, UnknownName


class UnitKind(StrEnum):
    """Granularities at which a model is scored (paper, section 3; our definitions: docs/methods.md).

    NEURON (l, j): input channel j of the last MLP projection of layer l.
    HEAD (l, h): slice h of the input of the attention output projection of layer l; where a layer has
        cross-attention too, its heads come after those of self-attention.
    LAYER (l,): everything layer l adds to the residual stream.
    EXPERT (l, e): what expert e of layer l adds, in a mixture of experts.
    ROW (l, r): output row of one of the linear maps of layer l, bias included; the maps come one after the other.
    """

    NEURON = "neuron"
    HEAD = "head"
    LAYER = "layer"
    EXPERT = "expert"
    ROW = "row"


Unit = tuple[int, ...]
DEFAULT_KINDS = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER, UnitKind.EXPERT)
"""Kinds that are scored by default; rows must be requested."""


@dataclass(frozen=True)
class UnitShapes:
    """Number of units of each kind in each layer of a model: {kind: units of each layer}, 1 for layers.

    Score arrays are rectangular, as wide as the widest layer; places without a unit hold NaN.
    """

    counts: Mapping[UnitKind, tuple[int, ...]]

    @classmethod
    def even(cls, layers: int, heads: int, neurons: int) -> UnitShapes:
        """Return the shapes of a model whose layers are all equal."""
        sizes = {UnitKind.NEURON: neurons, UnitKind.HEAD: heads, UnitKind.LAYER: 1}
        return cls({kind: (size,) * layers for kind, size in sizes.items()})

    @property
    def layers(self) -> int:
        return len(self.counts[UnitKind.LAYER])

    @property
    def kinds(self) -> list[UnitKind]:
        """Kinds of which the model has a unit, in the order of UnitKind."""
        return [kind for kind in UnitKind if any(self.counts.get(kind, ()))]

    def of(self, kind: UnitKind) -> tuple[int, ...]:
        """Return the shape of a score array: (layers,) for layers, else (layers, units of the widest layer).

        Raises UnknownName for a kind that the model has none of.
        """
        if kind not in self.kinds:
            raise UnknownName("unit kind in this model", kind.value, [k.value for k in self.kinds])
        return (self.layers,) if kind is UnitKind.LAYER else (self.layers, max(self.counts[kind]))

    def table(self, kind: UnitKind) -> tuple[int, int]:
        """Return (layers, units of the widest layer), for layers too."""
        return self.layers, self.of(kind)[-1] if kind is not UnitKind.LAYER else 1

    def is_unit(self, kind: UnitKind) -> npt.NDArray[np.bool_]:
        """Return a mask of the score array, True where a place is a unit."""
        counts = np.array(self.counts[kind])
        return (np.arange(self.table(kind)[1]) < counts[:, None]).reshape(self.of(kind))

    def count(self, kind: UnitKind) -> int:
        return sum(self.counts.get(kind, ()))

    def as_dict(self) -> dict[UnitKind, list[int]]:
        return {kind: list(self.of(kind)) for kind in self.kinds}

    def ragged(self) -> dict[UnitKind, list[int]]:
        """Return the units of each layer, for kinds whose number differs between layers."""
        return {kind: list(self.counts[kind]) for kind in self.kinds if len(set(self.counts[kind])) > 1}

    @classmethod
    def from_dict(
        cls, shapes: Mapping[UnitKind, Sequence[int]], ragged: Mapping[UnitKind, Sequence[int]] | None = None
    ) -> UnitShapes:
        """Build the shapes from :meth:`as_dict` and :meth:`ragged`."""
        even = {kind: (shape[1] if len(shape) > 1 else 1,) * shape[0] for kind, shape in shapes.items()}
        return cls(even | {kind: tuple(counts) for kind, counts in (ragged or {}).items()})


def unit_name(kind: UnitKind, unit: Unit) -> str:
    """Format a unit for display: 'head 3.7' is head 7 of layer 3 (both from 0); 'layer 3'."""
    return f"{kind.value} {'.'.join(str(i) for i in unit)}"


TreatmentKind = Literal["scale", "mean", "offset", "resample"]
LIMITS: Mapping[TreatmentKind, tuple[float, float]] = {
    "scale": (0.0, 2.0),
    "mean": (0.0, 0.0),
    "offset": (-10.0, 10.0),
    "resample": (0.0, 0.0),
}


@dataclass(frozen=True)
class Treatment:
    """Treatment of the activation z of units, at every position.

    scale: z becomes ``value`` * z, value from 0 (off) to 2; 1 changes nothing.
    mean: z becomes its mean over the probe set's positions (mean ablation); value is 0.
    offset: z becomes z + ``value`` standard deviations of z over the probe set, value from -10 to 10 (the paper's
        amplification, "other uses").
    resample: z becomes what it is for the corrupted prompt of the same example, position by position (activation
        patching), on tasks of counterfactual pairs; value is 0.
    Means and deviations are those of each channel of a unit. Raises ValueError for a value out of range.
    """

    how: TreatmentKind = "scale"
    value: float = 0.0
    # Pydantic reads this when a contract contains a treatment: a misspelt field is an error.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.how not in LIMITS:
            raise ValueError(f"units can be treated by {', '.join(LIMITS)}, not {self.how!r}")
        low, high = LIMITS[self.how]
        if not (math.isfinite(self.value) and low <= self.value <= high):
            raise ValueError(f"the value of {self.how!r} goes from {low:g} to {high:g}, not {self.value:g}")

    @property
    def needs_activations(self) -> bool:
        """Whether it needs statistics of the task's activations."""
        return self.how in ("mean", "offset")

    @property
    def needs_pairs(self) -> bool:
        """Whether it needs a task of counterfactual pairs."""
        return self.how == "resample"

    def describe(self) -> str:
        """Describe the treatment: 'off', 'times 0.5', 'at their mean', 'plus 2 deviations', 'patched'."""
        if self == OFF:
            return "off"
        if self.needs_pairs:
            return "patched from the corrupted prompt"
        if self.how == "scale":
            return f"times {self.value:g}"
        return (
            "at their mean"
            if self.how == "mean"
            else f"{'plus' if self.value >= 0 else 'minus'} {abs(self.value):g} deviations"
        )


OFF = Treatment()


@dataclass(frozen=True)
class Deactivation:
    """A set of units with a treatment: by default their activation is 0 at every position.

    ``units[kind]`` is a sorted tuple of indices without repeats, so equal sets compare equal
    and give the same ``key()``. Build it with :meth:`of`.
    """

    units: tuple[tuple[UnitKind, tuple[Unit, ...]], ...] = ()
    treatment: Treatment = OFF

    @classmethod
    def of(cls, off: Mapping[UnitKind, Iterable[Iterable[int] | int]], treatment: Treatment = OFF) -> Deactivation:
        """Build a deactivation from {kind: indices}; an index is a tuple (layer, i), or an int for a layer."""
        kinds = []
        for kind in UnitKind:
            entries = off.get(kind, ())
            indices = {(i,) if isinstance(i, int) else tuple(int(x) for x in i) for i in entries}
            if indices:
                kinds.append((kind, tuple(sorted(indices))))
        return cls(tuple(kinds), treatment)

    @classmethod
    def from_masks(cls, masks: Mapping[UnitKind, npt.NDArray[np.bool_]]) -> Deactivation:
        """Build a deactivation from {kind: boolean array of that kind's shape, True = off}."""
        return cls.of({kind: [tuple(i) for i in np.argwhere(mask).tolist()] for kind, mask in masks.items()})

    def of_kind(self, kind: UnitKind) -> tuple[Unit, ...]:
        return dict(self.units).get(kind, ())

    @property
    def first_layer(self) -> int | None:
        """Lowest layer that has one of the units; None without units."""
        return min((unit[0] for _, units in self.units for unit in units), default=None)

    def counts(self) -> dict[UnitKind, int]:
        return {kind: len(self.of_kind(kind)) for kind in UnitKind}

    def mask(self, kind: UnitKind, shapes: UnitShapes) -> npt.NDArray[np.bool_]:
        """Return a boolean array of ``shapes.of(kind)``, True for the units of this set."""
        mask = np.zeros(shapes.of(kind), dtype=bool)
        for unit in self.of_kind(kind):
            mask[unit] = True
        return mask

    def check(self, shapes: UnitShapes) -> None:
        """Validate the units against a model's shapes.

        Raises UnitOutOfRange for the first unit that the model does not have, and BadTreatment for experts at their
        mean or with an offset.
        """
        if self.treatment.how != "scale" and self.of_kind(UnitKind.EXPERT):
            raise BadTreatment(
                f"Experts cannot be treated by {self.treatment.how!r}: they see only the tokens routed to them. "
                "Switch experts off, or scale them by a factor."
            )
        for kind, units in self.units:
            if kind not in shapes.kinds:
                raise UnitOutOfRange(f"This model has no {kind.value}s.")
            width = len(shapes.of(kind))
            for unit in units:
                if len(unit) != width:
                    raise UnitOutOfRange(
                        f"A {kind.value} is named by {width} number(s), but {list(unit)} has {len(unit)}."
                    )
                _check_index(kind, unit, "layer", unit[0], shapes.layers)
                if width > 1:
                    _check_index(kind, unit, kind.value, unit[1], shapes.counts[kind][unit[0]])

    def key(self) -> str:
        """Return a canonical text; equal deactivations have equal keys."""
        how = [] if self.treatment == OFF else [f"{self.treatment.how}={float(self.treatment.value)!r}"]
        kinds = (f"{kind.value}:" + ",".join(".".join(map(str, u)) for u in units) for kind, units in self.units)
        return ";".join([*how, *kinds])

    def describe(self) -> str:
        """Describe the units briefly: by name if they are few, else by the number of each kind."""
        if len(self) <= 3:
            return ", ".join(unit_name(kind, unit) for kind, units in self.units for unit in units) or "nothing"
        return ", ".join(f"{len(units):,} {kind.value}{'s' * (len(units) > 1)}" for kind, units in self.units)

    def __len__(self) -> int:
        return sum(len(units) for _, units in self.units)


def _check_index(kind: UnitKind, unit: Unit, what: str, index: int, size: int) -> None:
    if not 0 <= index < size:
        where = f" in layer {unit[0]}" if what != "layer" else ""
        allowed = f"{what}s go from 0 to {size - 1}{where} here" if size else f"there are no {what}s{where}"
        raise UnitOutOfRange(f"{kind.value} {list(unit)}: {allowed}, not {index}.")


def extreme_units(scores: npt.NDArray[np.floating], kind: UnitKind, which: str, fraction: float) -> Deactivation:
    """Return the ``fraction`` of units with the lowest ('least') or highest ('most') scores.

    The count is rounded to the nearest whole unit (halves up); equal scores are taken in unit order.
    Scores are ranked as they are: on a signed map 'least' are the most harmful units. NaN is not a unit.
    """
    flat = scores.reshape(-1)
    order = np.argsort(flat * (1 if which == "least" else -1), kind="stable")  # NaN comes last
    count = int(np.floor(fraction * np.isfinite(flat).sum() + 0.5))
    chosen = order[:count]
    indices = np.stack(np.unravel_index(chosen, scores.shape), axis=1)
    return Deactivation.of({kind: [tuple(i) for i in indices.tolist()]})
