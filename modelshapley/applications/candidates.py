"""Candidates for a wanted size: which share of the parameters neurons, heads, layers and experts give up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from modelshapley.applications.pruning import Prediction, predict
from modelshapley.applications.selection import least_important, merged
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation, UnitKind

Shares = Mapping[UnitKind, float]
KINDS = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER, UnitKind.EXPERT)
SPENDS: Sequence[Shares] = (
    *({kind: 1.0} for kind in KINDS),
    {UnitKind.NEURON: 0.5, UnitKind.LAYER: 0.5},
    {UnitKind.NEURON: 0.75, UnitKind.HEAD: 0.25},
    {UnitKind.HEAD: 0.25, UnitKind.LAYER: 0.75},
    {UnitKind.NEURON: 0.5, UnitKind.HEAD: 0.25, UnitKind.LAYER: 0.25},
    {UnitKind.EXPERT: 0.5, UnitKind.LAYER: 0.5},
)
"""Divisions of the parameters to remove among kinds of unit; those of kinds that a model has none of are skipped."""
SLICES = 16  # of the neurons or experts of a layer, when value a parameter decides
BISECTIONS = 12  # halves a share to a four-thousandth, finer than one neuron of most models


@dataclass(frozen=True)
class Chooser:
    """Chooses units by one map, and layers perhaps by another."""

    importance_map: ImportanceMap
    layers: ImportanceMap | None = None

    def choose(self, loaded: LoadedModel, shares: Shares) -> Deactivation:
        """Return the least important units, by share of each kind."""
        parts = [
            least_important(self.map_of(kind), loaded.anatomy, kind, share) for kind, share in shares.items() if share
        ]
        return merged(parts)

    def map_of(self, kind: UnitKind) -> ImportanceMap:
        return self.layers if self.layers is not None and kind is UnitKind.LAYER else self.importance_map


@dataclass(frozen=True)
class Proposal:
    """A candidate before it is measured. spend: how its parameters are divided, as text."""

    chooser: Chooser
    spend: str
    units: Deactivation
    prediction: Prediction


class Budget:
    """The wanted number of parameters of one model, and what each kind of unit costs."""

    def __init__(self, loaded: LoadedModel, target: int) -> None:
        self.loaded, self.target = loaded, target
        self.whole = predict(loaded, Deactivation()).parent_size
        if target >= self.whole.parameters:
            raise ModelShapleyError(
                f"The wanted {target:,} parameters are not fewer than the {self.whole.parameters:,} of {loaded.id!r}."
            )
        self._removed: dict[object, int] = {}

    def predict(self, units: Deactivation) -> Prediction:
        return predict(self.loaded, units, self.whole)

    def removed(self, units: Deactivation) -> int:
        """Return how many parameters go with these units, which every layer must lose alike.

        Then this depends on their numbers alone, so that the choices of all methods are computed once.
        """
        shapes = self.loaded.anatomy.shapes
        gone = sorted(
            tuple(shapes.counts[kind][layer] for kind in UnitKind) for (layer,) in units.of_kind(UnitKind.LAYER)
        )
        key = (tuple(gone), tuple(units.counts().items()))
        if key not in self._removed:
            self._removed[key] = self.whole.parameters - self.predict(units).size.parameters
        return self._removed[key]

    @property
    def wanted(self) -> int:
        """Number of parameters to remove."""
        return self.whole.parameters - self.target

    def share_for(self, chooser: Chooser, kind: UnitKind, parameters: float, others: Shares) -> float | None:
        """Return the smallest share of a kind that removes so many parameters in addition to `others`; None if none."""

        def enough(share: float) -> bool:
            units = chooser.choose(self.loaded, {**others, kind: share})
            return self.removed(units) >= parameters

        low, high = 0.0, 1 - 1e-9
        if enough(0.0):
            return 0.0
        counts = self.loaded.anatomy.shapes.counts[kind]
        high = (max(counts) - 1) / max(counts) if kind is not UnitKind.LAYER else 1 - 1 / len(counts)
        if not enough(high):
            return None
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def proposals(budget: Budget, choosers: Sequence[Chooser]) -> Iterator[Proposal]:
    """Yield different ways to reach the wanted size: none has more parameters than that.

    Each division of :data:`SPENDS` by each chooser, as far as the family can leave out these units, and the one by
    value a parameter. Within a division the coarse kinds come first, in whole steps that do not exceed their part, and
    the kind with the finest steps fills up.
    """
    seen: set[str] = set()
    for chooser in choosers:
        for text, units in _ways(budget, chooser):
            if units.key() not in seen:
                seen.add(units.key())
                layers = chooser.layers if units.of_kind(UnitKind.LAYER) else None
                yield Proposal(replace(chooser, layers=layers), text, units, budget.predict(units))


def _ways(budget: Budget, chooser: Chooser) -> Iterator[tuple[str, Deactivation]]:
    """Yield the divisions of one chooser as text, each with its units."""
    for spend in SPENDS:
        if _possible(budget, chooser, spend):
            units = _divided(budget, chooser, spend)
            if units is not None:
                yield _text(spend), units
    units = _by_value(budget, chooser)
    if units is not None:
        yield "by value", units


def _text(spend: Shares) -> str:
    if len(spend) == 1:
        return next(iter(spend)).value
    return ", ".join(f"{kind.value} {share:.0%}".replace("%", " %") for kind, share in spend.items())


def _possible(budget: Budget, chooser: Chooser, spend: Shares) -> bool:
    """Return whether the model can lose units of all these kinds, and the map has scores for them."""
    shapes = budget.loaded.anatomy.shapes
    return all(kind in shapes.kinds and kind in chooser.map_of(kind).scores and _cheap(budget, kind) for kind in spend)


def _cheap(budget: Budget, kind: UnitKind) -> bool:
    """Return whether the family's config allows fewer units of a kind, tried with about half of them."""
    counts = budget.loaded.anatomy.shapes.counts[kind]
    if kind is UnitKind.LAYER:
        return len(counts) > 1 and budget.removed(Deactivation.of({kind: [len(counts) // 2]})) > 0
    half = Deactivation.of({kind: [(layer, i) for layer, count in enumerate(counts) for i in range(count // 2)]})
    return budget.removed(half) > 0


def _divided(budget: Budget, chooser: Chooser, spend: Shares) -> Deactivation | None:
    """Return units in this division, coarse kinds first; None where they cannot reach the wanted size."""
    shares: dict[UnitKind, float] = {}
    coarse_first = sorted(spend, key=lambda kind: budget.loaded.anatomy.shapes.count(kind))
    for kind in coarse_first[:-1]:
        steps = _steps(budget, kind)
        part = spend[kind] * budget.wanted
        fitting = [s for s in steps if budget.removed(chooser.choose(budget.loaded, {kind: s})) <= part]
        shares[kind] = max(fitting, default=0.0)
        if not shares[kind]:
            return None  # one unit is more than its part: another division says the same
    share = budget.share_for(chooser, coarse_first[-1], budget.wanted, shares)
    return None if share is None else chooser.choose(budget.loaded, {**shares, coarse_first[-1]: share})


def _steps(budget: Budget, kind: UnitKind) -> list[float]:
    """Return the shares at which the number of units of a coarse kind changes."""
    counts = budget.loaded.anatomy.shapes.counts[kind]
    size = len(counts) if kind is UnitKind.LAYER else max(counts)
    return [step / size for step in range(1, size)]


def _by_value(budget: Budget, chooser: Chooser) -> Deactivation | None:
    """Return units in the order of score a parameter, slice by slice, until the wanted size is reached.

    A slice is a layer, or the next least important sixteenth of the neurons of every layer (or one head of every layer
    or group), so that layers stay alike. Only kinds whose scores share a quantity are compared: those of one map.
    """
    kinds = [
        kind
        for kind in KINDS
        if _possible(budget, chooser, {kind: 1.0}) and chooser.map_of(kind) is chooser.importance_map
    ]
    slices = sorted((one for kind in kinds for one in _slices(budget, chooser, kind)), key=lambda one: one[0])
    units: list[Deactivation] = []
    # Add slices by their own parameters first, then check the exact size, which a dropped layer's neurons do not share.
    for _, part in slices:
        units.append(part)
        if sum(map(budget.removed, units)) >= budget.wanted and budget.removed(merged(units)) >= budget.wanted:
            return merged(units)
    return None


def _slices(budget: Budget, chooser: Chooser, kind: UnitKind) -> Iterator[tuple[float, Deactivation]]:
    """Yield (score a parameter, units) of consecutive slices of a kind, the least important first."""
    scores = chooser.map_of(kind).scores[kind]
    size = len(scores) if kind is UnitKind.LAYER else max(budget.loaded.anatomy.shapes.counts[kind])
    steps = min(size, SLICES) if kind in (UnitKind.NEURON, UnitKind.EXPERT) else size
    edges = [chooser.choose(budget.loaded, {kind: step / steps}) for step in range(steps)]
    for before, after in pairwise(edges):
        gone = set(before.of_kind(kind))
        part = Deactivation.of({kind: [unit for unit in after.of_kind(kind) if unit not in gone]})
        parameters = budget.removed(after) - budget.removed(before)
        if parameters > 0:
            yield float(np.sum([scores[unit] for unit in part.of_kind(kind)])) / parameters, part
