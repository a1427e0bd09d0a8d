"""Candidates for a wanted size: which share of the parameters neurons, heads, layers and experts give up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from modelshapley.applications.pruning import Prediction, predict
from modelshapley.applications.selection import least_important, merged
from modelshapley.applications.sizes import WeightsSize
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
    """A candidate before it is measured. spend: how its parameters are divided, as text.

    milliseconds: of a pass, where a time is wanted, beside that of the parent.
    """

    chooser: Chooser
    spend: str
    units: Deactivation
    prediction: Prediction
    milliseconds: float | None = None
    parent_milliseconds: float | None = None


class Budget:
    """The wanted number of parameters of one model, and how many go with the shares of its kinds of unit.

    Every layer loses alike, so that how many parameters go depends on the shares alone: it is computed once for the
    choices of all methods, from a map that scores nothing. Where layers differ (some with experts, say) that is an
    estimate, and the exact size decides in the end.
    """

    def __init__(self, loaded: LoadedModel, whole: WeightsSize, target: int) -> None:
        self.loaded, self.whole, self.target = loaded, whole, target
        if target >= self.whole.parameters:
            raise ModelShapleyError(
                f"The wanted {target:,} parameters are not fewer than the {self.whole.parameters:,} of {loaded.id!r}."
            )
        shapes = loaded.anatomy.shapes
        zeros = {kind: np.zeros(shapes.of(kind)) for kind in KINDS if kind in shapes.kinds}
        self._neutral = Chooser(ImportanceMap("none", "", False, zeros, zeros))
        self._removed: dict[tuple[tuple[UnitKind, float], ...], int] = {}
        self._shares: dict[str, Shares | None] = {}

    def resized(self, target: int) -> Budget:
        """Return a budget of another number of parameters, which shares what is known of the model's sizes."""
        other = Budget(self.loaded, self.whole, target)
        other._removed = self._removed
        return other

    def predict(self, units: Deactivation) -> Prediction:
        return predict(self.loaded, units, self.whole)

    def removed(self, shares: Shares) -> int:
        """Return how many parameters go with these shares."""
        key = tuple((kind, share) for kind, share in shares.items() if share)
        if key not in self._removed:
            units = self._neutral.choose(self.loaded, shares)
            self._removed[key] = self.whole.parameters - self.predict(units).size.parameters
        return self._removed[key]

    @property
    def wanted(self) -> int:
        """Number of parameters to remove."""
        return self.whole.parameters - self.target

    def possible(self, kind: UnitKind) -> bool:
        """Return whether the model has units of a kind, and its family's config allows fewer of them."""
        if kind not in self.loaded.anatomy.shapes.kinds:
            return False
        size = self.size(kind)
        return size > 1 and self.removed({kind: max(1, size // 2) / size}) > 0

    def smallest(self) -> Prediction:
        """Predict the model without as many units of every kind as can go."""
        kinds = [kind for kind in KINDS if self.possible(kind)]
        shares = {kind: 1 - self._needed(kind) / self.size(kind) for kind in kinds}
        return self.predict(self._neutral.choose(self.loaded, shares))

    def size(self, kind: UnitKind) -> int:
        """Return the number of layers, or of units in the widest layer."""
        shapes = self.loaded.anatomy.shapes
        return shapes.layers if kind is UnitKind.LAYER else max(shapes.counts[kind])

    def _needed(self, kind: UnitKind) -> int:
        """Return how many units of the widest layer must stay: as many experts as each token has, else one."""
        config: Any = self.loaded.model.config
        return int(config.to_dict().get("num_experts_per_tok") or 1) if kind is UnitKind.EXPERT else 1

    def divided(self, spend: Shares) -> Shares | None:
        """Return the shares of a division of the parameters to remove; None where it cannot reach the wanted size.

        Coarse kinds come first, in whole steps that do not exceed their part; the finest fills up.
        """
        key = _text(spend)
        if key not in self._shares:
            self._shares[key] = self._divided(spend)
        return self._shares[key]

    def _divided(self, spend: Shares) -> Shares | None:
        shares: dict[UnitKind, float] = {}
        *coarse, finest = sorted(spend, key=lambda kind: self.loaded.anatomy.shapes.count(kind))
        for kind in coarse:
            steps = [step / self.size(kind) for step in range(1, self.size(kind) - self._needed(kind) + 1)]
            shares[kind] = max((s for s in steps if self.removed({kind: s}) <= spend[kind] * self.wanted), default=0.0)
            if not self.removed({kind: shares[kind]}):
                return None  # one unit is more than its part: another division says the same
        share = self._filling(finest, shares)
        return None if share is None else {**shares, finest: share}

    def _filling(self, kind: UnitKind, others: Shares) -> float | None:
        """Return the smallest share of a kind that reaches the wanted size with the others; None if there is none."""
        if self.removed(others) >= self.wanted:
            return 0.0
        low, high = 0, self.size(kind) - self._needed(kind)
        if high < 1 or self.removed({**others, kind: high / self.size(kind)}) < self.wanted:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            enough = self.removed({**others, kind: middle / self.size(kind)}) >= self.wanted
            low, high = (low, middle) if enough else (middle, high)
        return high / self.size(kind)


def proposals(budget: Budget, choosers: Sequence[Chooser]) -> Iterator[Proposal]:
    """Yield different ways to reach the wanted size: none has more parameters than that.

    Each division of :data:`SPENDS` by each chooser, as far as the family can leave out these units, and the one by
    value a parameter.
    """
    seen: set[str] = set()
    for chooser in choosers:
        for text, shares in ways_of(budget, chooser):
            proposal = propose(budget, chooser, text, shares)
            if proposal.units.key() in seen:
                continue
            seen.add(proposal.units.key())
            if proposal.prediction.size.parameters <= budget.target:
                yield proposal


def propose(budget: Budget, chooser: Chooser, text: str, shares: Shares) -> Proposal:
    """Return the candidate that a chooser makes of shares."""
    units = chooser.choose(budget.loaded, shares)
    layers = chooser.layers if units.of_kind(UnitKind.LAYER) else None
    return Proposal(replace(chooser, layers=layers), text, units, budget.predict(units))


def ways_of(budget: Budget, chooser: Chooser) -> Iterator[tuple[str, Shares]]:
    """Yield the divisions of one chooser as text, each with the shares of its kinds."""
    for spend in SPENDS:
        if all(_usable(budget, chooser, kind) for kind in spend):
            shares = budget.divided(spend)
            if shares is not None:
                yield _text(spend), shares
    valued = by_value(budget, chooser)
    if valued is not None:
        yield "by value", valued


def _usable(budget: Budget, chooser: Chooser, kind: UnitKind) -> bool:
    return budget.possible(kind) and kind in chooser.map_of(kind).scores


def _text(spend: Shares) -> str:
    if len(spend) == 1:
        return next(iter(spend)).value
    return ", ".join(f"{kind.value} {share:.0%}".replace("%", " %") for kind, share in spend.items())


def by_value(budget: Budget, chooser: Chooser) -> Shares | None:
    """Return the shares that result if slices go in the order of score a parameter until the wanted size is reached.

    A slice is a layer, or the next least important sixteenth of the neurons or experts of every layer, or a head of
    every layer or group, so that layers stay alike. Only kinds whose scores share a quantity are compared: those of one
    map.
    """
    own = [kind for kind in KINDS if chooser.map_of(kind) is chooser.importance_map]
    kinds = [kind for kind in own if _usable(budget, chooser, kind)]
    slices = sorted((one for kind in kinds for one in _slices(budget, chooser, kind)), key=lambda one: one[0])
    shares: dict[UnitKind, float] = {}
    for _, kind, share in slices:
        shares[kind] = max(share, shares.get(kind, 0.0))
        if budget.removed(shares) >= budget.wanted:
            return shares
    return None


def _slices(budget: Budget, chooser: Chooser, kind: UnitKind) -> Iterator[tuple[float, UnitKind, float]]:
    """Yield (score a parameter, kind, its share once the slice is gone) of consecutive slices, the least first."""
    scores, size = chooser.map_of(kind).scores[kind], budget.size(kind)
    steps = min(size, SLICES) if kind in (UnitKind.NEURON, UnitKind.EXPERT) else size
    shares = [step / steps for step in range(steps)]
    units = [chooser.choose(budget.loaded, {kind: share}).of_kind(kind) for share in shares]
    for (before, gone), (after, going) in pairwise(zip(shares, units, strict=True)):
        parameters = budget.removed({kind: after}) - budget.removed({kind: before})
        if parameters > 0:
            worth = sum(float(scores[unit]) for unit in set(going) - set(gone))
            yield worth / parameters, kind, after
