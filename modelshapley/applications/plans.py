"""The plan of a smaller model: which units are cut out, which are only zeroed, and the config that results."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import transformers
from transformers.initialization import no_init_weights

from modelshapley.applications.size_rules import SizeRules, rules_of, without_layers
from modelshapley.architectures.anatomy import Anatomy, Experts, Layer
from modelshapley.architectures.families import anatomy_of
from modelshapley.contracts.applications.derived import Mode
from modelshapley.errors import BadTreatment, UnsupportedModel
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import OFF, Deactivation, Unit, UnitKind

CUTTABLE = (UnitKind.LAYER, UnitKind.NEURON, UnitKind.HEAD, UnitKind.EXPERT)
Kept = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Plan:
    """How a parent becomes smaller.

    config, anatomy: of the smaller model. layers: the parent's layers that remain, in order. kept: {kind: indices of
    the parent's units in each remaining layer}; a kind that is not cut keeps all. zeroed: units that stay, with weights
    of zero. modes: what becomes of each kind that loses units. reasons: why units are zeroed, one sentence each.
    """

    config: Any
    anatomy: Anatomy
    layers: tuple[int, ...]
    kept: Mapping[UnitKind, Kept]
    zeroed: Deactivation
    modes: Mapping[UnitKind, Mode]
    reasons: tuple[str, ...]

    def skeleton(self, dtype: torch.dtype) -> Any:
        """Build the smaller model without values, on the meta device."""
        with torch.device("meta"):
            return self._build(dtype)

    def build(self, dtype: torch.dtype) -> Any:
        """Build the smaller model on the CPU, with whatever values lay in memory."""
        with no_init_weights():
            return self._build(dtype)

    def _build(self, dtype: torch.dtype) -> Any:
        # A copy, since building a model notes things in its config.
        config = copy.deepcopy(self.config)
        return getattr(transformers, self.anatomy.auto_class).from_config(config, dtype=dtype)


def plan_pruning(loaded: LoadedModel, deactivation: Deactivation) -> Plan:
    """Plan the removal of the units of a deactivation: as many as the family allows, the rest zeroed in place.

    Heads with grouped keys and values go as whole groups, or as equal numbers of query heads of each group. Raises
    UnitOutOfRange, BadTreatment for units that are not simply off.
    """
    deactivation.check(loaded.anatomy.shapes)
    if deactivation.treatment != OFF:
        raise BadTreatment(
            f"Only units that are off can be removed, but these are {deactivation.treatment.describe()}; "
            "switch them off instead."
        )
    return _Planner(loaded, deactivation).plan()


@dataclass
class _Planner:
    """Tries the kinds of unit one after the other; what a config cannot express is zeroed."""

    loaded: LoadedModel
    deactivation: Deactivation
    zeroed: dict[UnitKind, tuple[Unit, ...]] = field(default_factory=dict)
    modes: dict[UnitKind, Mode] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def plan(self) -> Plan:
        parent, kinds = self.loaded.anatomy, [kind for kind, _ in self.deactivation.units]
        rules = rules_of(parent.model_type)
        config, layers = self._without_layers(rules)
        for kind in (UnitKind.NEURON, UnitKind.HEAD, UnitKind.EXPERT):
            if kind in kinds:
                config = self._shrunk(kind, config, layers, rules)
        if UnitKind.ROW in kinds:
            self._zero(UnitKind.ROW, "rows of a linear map are channels that the next layer still reads")
        kept = {kind: self._kept(kind, layers) for kind in CUTTABLE[1:]}
        # Without its table a family has no anatomy from a config alone, and nothing was cut from it either.
        anatomy = parent if config is self._config else anatomy_of(config.to_dict())
        plan = Plan(config, anatomy, layers, kept, Deactivation.of(self.zeroed), self.modes, tuple(self.reasons))
        modes = {**self.modes, **_padded(parent, plan)}
        unchanged = [kind for kind, mode in modes.items() if mode == "zeroed" and kind not in self.zeroed]
        reasons = [
            f"{kind.value}s are zeroed in place: no smaller size of the config holds the rest." for kind in unchanged
        ]
        return replace(plan, modes=modes, reasons=(*self.reasons, *reasons))

    @property
    def _config(self) -> Any:
        return self.loaded.model.config

    def _zero(self, kind: UnitKind, reason: str) -> None:
        self.zeroed[kind] = self.deactivation.of_kind(kind)
        self.modes[kind] = "zeroed"
        self.reasons.append(f"{kind.value}s are zeroed in place: {reason}.")

    def _without_layers(self, rules: SizeRules) -> tuple[Any, tuple[int, ...]]:
        """Return config and remaining layers once the layers are out."""
        parent, config = self.loaded.anatomy, self._config
        everything = tuple(range(parent.shapes.layers))
        gone = {layer for (layer,) in self.deactivation.of_kind(UnitKind.LAYER)}
        if not gone:
            return config, everything
        stacks = [[layer for layer in stack if layer not in gone] for stack in stacks_of(parent)]
        reason = rules.layers if isinstance(rules.layers, str) else ""
        if not reason and not all(stacks):
            reason = "a model needs at least one layer in each of its stacks"
        if not reason and config.to_dict().get("scale_attn_by_inverse_layer_idx"):
            reason = "this model scales attention by the number of the layer"
        if reason:
            self._zero(UnitKind.LAYER, reason)
            return config, everything
        layers = tuple(layer for stack in stacks for layer in stack)
        changes = dict(zip(rules.layers, map(len, stacks), strict=True))
        self.modes[UnitKind.LAYER] = "removed"
        return _changed(config, changes | without_layers(config.to_dict(), layers)), layers

    def _shrunk(self, kind: UnitKind, config: Any, layers: tuple[int, ...], rules: SizeRules) -> Any:
        """Return the config with fewer units of a kind, or as it was where that is not possible."""
        try:
            changed = self._resized(kind, config, layers, rules)
        except UnsupportedModel as error:
            self._zero(kind, str(error))
            return config
        self.modes[kind] = "removed"
        return changed

    def _resized(self, kind: UnitKind, config: Any, layers: tuple[int, ...], rules: SizeRules) -> Any:
        """Return the smallest config that has room for the remaining units. Raises UnsupportedModel with the reason."""
        kept = self._kept(kind, layers)
        if kind is UnitKind.NEURON:
            if isinstance(rules.neurons, str):
                raise UnsupportedModel(rules.neurons)
            needed = [max(len(kept[place]) for place in stack) for stack in self._places(layers)]
            return _changed(config, rules.neurons(config.to_dict(), [max(1, count) for count in needed]))
        if kind is UnitKind.EXPERT:
            return self._with_experts(config, layers, rules, kept)
        if isinstance(rules.heads, str):
            raise UnsupportedModel(rules.heads)
        return self._with_heads(config, layers, rules.heads, kept)

    def _with_heads(self, config: Any, layers: tuple[int, ...], keys: tuple[str, ...], kept: Kept) -> Any:
        anatomies = [self.loaded.anatomy.layers[layer] for layer in layers]
        grids = [head_grid(layer, heads) for layer, heads in zip(anatomies, kept, strict=True)]
        full = head_grid(anatomies[0], tuple(range(anatomies[0].attentions[0].heads)))
        groups = max(1, *map(len, grids))
        queries = max(1, *(len(queries) for grid in grids for queries in grid.values()), 1)
        width, reason = anatomies[0].attentions[0].width, ""
        # The smallest numbers first; a family may refuse those that do not divide its hidden size.
        sizes = [(g, q) for g in range(groups, len(full) + 1) for q in range(queries, len(full[0]) + 1)]
        for group_count, query_count in sorted(sizes, key=lambda size: size[0] * size[1]):
            values = (group_count * query_count, group_count)[: len(keys)]
            try:
                return _changed(config, dict(zip(keys, values, strict=True)) | {"head_dim": width})
            except UnsupportedModel as error:
                reason = str(error)
        raise UnsupportedModel(reason)

    def _with_experts(self, config: Any, layers: tuple[int, ...], rules: SizeRules, kept: Kept) -> Any:
        sparse = [experts for layer, experts in zip(layers, kept, strict=True) if self._has_experts(layer)]
        counts = {len(experts) for experts in sparse}
        chosen = int(config.to_dict()["num_experts_per_tok"])
        if not rules.experts:
            raise UnsupportedModel("the family has no rule for experts")
        if len(counts) > 1:
            raise UnsupportedModel("layers would have different numbers of experts, and one number holds for all")
        if max(counts, default=0) < chosen:
            raise UnsupportedModel(f"each token needs {chosen} experts")
        keys = [key for key in rules.experts if key in config.to_dict()]
        return _changed(config, dict.fromkeys(keys, counts.pop()))

    def _has_experts(self, layer: int) -> bool:
        return isinstance(self.loaded.anatomy.layers[layer].mlp, Experts)

    def _places(self, layers: Sequence[int]) -> list[list[int]]:
        """Return, for each stack of blocks, the places of its remaining layers among `layers`."""
        return [
            [place for place, layer in enumerate(layers) if layer in stack] for stack in stacks_of(self.loaded.anatomy)
        ]

    def _kept(self, kind: UnitKind, layers: Sequence[int]) -> Kept:
        gone = set() if kind in self.zeroed else set(self.deactivation.of_kind(kind))
        counts = self.loaded.anatomy.shapes.counts[kind]
        return tuple(tuple(i for i in range(counts[layer]) if (layer, i) not in gone) for layer in layers)


def stacks_of(anatomy: Anatomy) -> list[list[int]]:
    """Return the numbers of the layers of each stack of blocks."""
    stacks: list[list[int]] = []
    for number, layer in enumerate(anatomy.layers):
        if layer.first or not stacks:
            stacks.append([])
        stacks[-1].append(number)
    return stacks


def head_grid(layer: Layer, heads: Sequence[int]) -> dict[int, list[int]]:
    """Return {group of keys and values: its query heads} for some heads of a layer, both by index in the layer."""
    queries = queries_of_group(layer)
    grid: dict[int, list[int]] = {}
    for head in heads:
        grid.setdefault(head // queries, []).append(head)
    return grid


def queries_of_group(layer: Layer) -> int:
    """Return how many query heads share keys and values."""
    attention = layer.attentions[0]
    keys = next((rows.count for rows in layer.rows if rows.name == "k"), attention.heads * attention.width)
    return attention.heads * attention.width // keys


def _changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """Return a copy of the config with these entries. Raises UnsupportedModel where its class refuses them."""
    values = {
        key: value
        for key, value in config.to_dict().items()
        if key not in ("stage_names", "out_features", "out_indices")
    }
    try:
        return type(config).from_dict(values | dict(changes))
    except Exception as error:  # strict configs raise errors of their own
        raise UnsupportedModel(
            f"transformers refuses such a config ({str(error).strip().splitlines()[-1].strip()})"
        ) from error


def _padded(parent: Anatomy, plan: Plan) -> dict[UnitKind, Mode]:
    """Return the kinds whose layers keep different numbers, so that some are filled up with zeros."""
    modes: dict[UnitKind, Mode] = {}
    for kind, mode in plan.modes.items():
        if mode != "removed" or kind is UnitKind.LAYER:
            continue
        pairs = zip(plan.kept[kind], plan.layers, plan.anatomy.layers, strict=True)
        sizes = [(len(kept), layer.count(kind), parent.layers[old].count(kind)) for kept, old, layer in pairs]
        if any(kept < new for kept, new, _ in sizes):
            modes[kind] = "padded" if any(new < old for _, new, old in sizes) else "zeroed"
    return modes
