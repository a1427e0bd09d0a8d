"""Cut a model's weights down to a plan: rows and columns of linear maps, whole blocks, experts with router rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from modelshapley.applications.plans import Plan, head_grid, queries_of_group, stacks_of
from modelshapley.architectures.anatomy import Experts, Layer, Mlp, Rows
from modelshapley.errors import UnsupportedModel
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import UnitKind

ABSENT = -1
"""Index of a place that is filled with zeros: it belongs to no unit of the parent."""
BIAS_OF_POSITIONS = "relative_attention_bias.weight"  # T5 keeps one for a whole stack, in its first block
Index = list[int]


@dataclass
class _Cut:
    """Indices, into the parent's, of the rows (outputs) and columns (inputs) of one module's weight; None for all."""

    rows: Index | None = None
    columns: Index | None = None
    experts: Index | None = None


@dataclass
class _Cuts:
    """Cuts by the module's path in the parent."""

    by_path: dict[str, _Cut] = field(default_factory=dict)

    def at(self, path: str) -> _Cut:
        return self.by_path.setdefault(path, _Cut())


def smaller_state(loaded: LoadedModel, plan: Plan) -> dict[str, Tensor]:
    """Return the weights of the smaller model by name, copies on their devices in the parent's dtype.

    The parent's weights are as they were afterwards.
    """
    cuts, names = _cuts(loaded, plan), _Names(loaded, plan)
    with zeroed_weights(loaded.model, loaded.anatomy, plan.zeroed):
        state = {}
        for name, tensor in loaded.model.state_dict().items():
            new = names.new(name)
            if new is not None:
                path, _, parameter = name.rpartition(".")
                state[new] = _cut(loaded.model, path, parameter, tensor, cuts.by_path)
    return state


def smaller_model(loaded: LoadedModel, plan: Plan, dtype: torch.dtype) -> Any:
    """Return the smaller model on the CPU in evaluation mode, with its weights in `dtype`.

    Raises UnsupportedModel where the cut weights do not fit the planned config.
    """
    model: Any = plan.build(dtype)
    state = {name: tensor.to("cpu", dtype) for name, tensor in smaller_state(loaded, plan).items()}
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise UnsupportedModel(
            f"The cut weights of {loaded.id!r} do not fit the config of the smaller model: {str(error)[:300]}"
        ) from error
    model.tie_weights()
    if getattr(loaded.model, "generation_config", None) is not None:
        model.generation_config = loaded.model.generation_config
    return model.eval().requires_grad_(False)


def routers_of(loaded: LoadedModel, plan: Plan) -> dict[str, Index]:
    """Return {path of a router in the parent: experts that it still chooses from}, for layers that lose experts."""
    routers = {}
    for number, kept in zip(plan.layers, plan.kept[UnitKind.EXPERT], strict=True):
        mlp = loaded.anatomy.layers[number].mlp
        if isinstance(mlp, Experts) and len(kept) < mlp.count:
            routers[f"{mlp.path.rpartition('.')[0]}.gate"] = list(kept)
    return routers


class _Names:
    """Names of the parent's tensors in the smaller model, whose blocks are numbered anew."""

    def __init__(self, loaded: LoadedModel, plan: Plan) -> None:
        parent = loaded.anatomy.layers
        self._blocks = {layer.block: "" for layer in parent}
        self._blocks |= {parent[old].block: plan.anatomy.layers[new].block for new, old in enumerate(plan.layers)}
        self._first = {
            parent[stack[0]].block: next(self._blocks[parent[n].block] for n in stack if self._blocks[parent[n].block])
            for stack in stacks_of(loaded.anatomy)
        }

    def new(self, name: str) -> str | None:
        """Return the new name; None for a tensor of a block that is gone."""
        block = next((block for block in self._blocks if name.startswith(f"{block}.")), None)
        if block is None:
            return name
        target = self._first[block] if name.endswith(BIAS_OF_POSITIONS) else self._blocks[block]
        return target + name.removeprefix(block) if target else None


def _cuts(loaded: LoadedModel, plan: Plan) -> _Cuts:
    cuts = _Cuts()
    for place, number in enumerate(plan.layers):
        old, new = loaded.anatomy.layers[number], plan.anatomy.layers[place]
        if isinstance(old.mlp, Experts):
            _cut_experts(cuts, old.mlp, plan.kept[UnitKind.EXPERT][place])
        else:
            _cut_neurons(cuts, old, new, plan.kept[UnitKind.NEURON][place])
        if old.count(UnitKind.HEAD) != new.count(UnitKind.HEAD) or len(plan.kept[UnitKind.HEAD][place]) < old.count(
            UnitKind.HEAD
        ):
            _cut_heads(cuts, old, new, plan.kept[UnitKind.HEAD][place])
    return cuts


def _cut_experts(cuts: _Cuts, experts: Experts, kept: Sequence[int]) -> None:
    if len(kept) < experts.count:
        cuts.at(experts.path).experts = list(kept)
        cuts.at(f"{experts.path.rpartition('.')[0]}.gate").rows = list(kept)


def _cut_neurons(cuts: _Cuts, old: Layer, new: Layer, kept: Sequence[int]) -> None:
    assert isinstance(old.mlp, Mlp)
    assert isinstance(new.mlp, Mlp)
    if len(kept) == old.mlp.neurons == new.mlp.neurons:
        return
    neurons = [*kept, *[ABSENT] * (new.mlp.neurons - len(kept))]
    _cut_rows(cuts, old, new, {"gate": neurons, "up": neurons})
    cuts.at(old.mlp.output).columns = neurons


def _cut_heads(cuts: _Cuts, old: Layer, new: Layer, kept: Sequence[int]) -> None:
    """Arrange the remaining heads by group; groups and queries that a layer lacks are filled with zeros."""
    width, queries = old.attentions[0].width, queries_of_group(new)
    groups = new.attentions[0].heads // queries
    grid = [*head_grid(old, kept).items()]
    grid += [(ABSENT, [])] * (groups - len(grid))
    heads = [head for _, members in grid for head in [*members, *[ABSENT] * (queries - len(members))]]
    keys = _channels([group for group, _ in grid], width)
    _cut_rows(cuts, old, new, {"q": _channels(heads, width), "k": keys, "v": keys})
    cuts.at(old.attentions[0].output).columns = _channels(heads, width)


def _channels(units: Sequence[int], width: int) -> Index:
    return [ABSENT if unit == ABSENT else unit * width + channel for unit in units for channel in range(width)]


def _cut_rows(cuts: _Cuts, old: Layer, new: Layer, chosen: Mapping[str, Index]) -> None:
    """Choose rows of the named linear maps; maps that share a module are cut together."""
    for path in {rows.path for rows in old.rows if rows.name in chosen}:
        parts = [(a, b) for a, b in zip(old.rows, new.rows, strict=True) if a.path == path]
        index = [ABSENT] * sum(b.count for _, b in parts)
        for before, after in parts:
            rows = _rows(before)
            for place, row in zip(_rows(after), chosen.get(before.name, range(before.count)), strict=True):
                index[place] = ABSENT if row == ABSENT else rows[row]
        cuts.at(path).rows = index


def _rows(rows: Rows) -> Index:
    return [row for start, stop in rows.spans for row in range(start, stop)]


def _cut(model: nn.Module, path: str, parameter: str, tensor: Tensor, cuts: Mapping[str, _Cut]) -> Tensor:
    cut = cuts.get(path)
    if cut is None:
        return tensor.clone()
    if cut.experts is not None:
        return _take(tensor, 0, cut.experts)
    transposed = isinstance(model.get_submodule(path), Conv1D) and tensor.dim() == 2
    if cut.rows is not None:
        tensor = _take(tensor, 1 if transposed else 0, cut.rows)
    if cut.columns is not None and parameter == "weight":
        tensor = _take(tensor, 0 if transposed else 1, cut.columns)
    return tensor.clone()


def _take(tensor: Tensor, dimension: int, index: Index) -> Tensor:
    places = torch.tensor(index, device=tensor.device)
    taken = tensor.index_select(dimension, places.clamp(min=0))
    return taken.index_fill_(dimension, (places == ABSENT).nonzero().flatten(), 0)
