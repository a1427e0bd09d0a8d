"""Which rows, columns and experts belong to chosen units: the parts of a model's weights that train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modelshapley.applications.plans import queries_of_group
from modelshapley.architectures.anatomy import Anatomy, Experts, Layer, Mlp, Rows
from modelshapley.errors import UnsupportedModel
from modelshapley.units import Deactivation, UnitKind


@dataclass(frozen=True)
class Part:
    """Trained part of one module: rows (outputs) of a linear map with their biases, or columns (inputs), or experts."""

    path: str
    side: str  # 'rows', 'columns' or 'experts'
    index: tuple[int, ...]


def parts_of(anatomy: Anatomy, units: Deactivation) -> list[Part]:
    """Return the rows and columns that belong to units.

    A neuron has its rows of the gate and up maps and its column of the last MLP projection; a head its rows of q, those
    of the k and v that it reads (which other heads may share), and its columns of the output projection; a layer all
    rows of its linear maps; a row itself; an expert its slices of the stacked weights, without the router's row. Raises
    UnsupportedModel for layers of experts, for families whose maps are not named, and for units of which one needs rows
    and another columns of the same map.
    """
    indices: dict[tuple[str, str], set[int]] = {}
    for number, layer in enumerate(anatomy.layers):
        chosen = {kind: [unit[-1] for unit in units.of_kind(kind) if unit[0] == number] for kind in UnitKind}
        if any(chosen.values()) and not layer.rows:
            raise UnsupportedModel(
                f"The family {anatomy.model_type} is not in the table of architectures, so the rows of its "
                "units are unknown."
            )
        for part in _of_layer(layer, chosen):
            indices.setdefault((part.path, part.side), set()).update(part.index)
    for path, side in indices:
        if side == "rows" and (path, "columns") in indices:
            raise UnsupportedModel(
                f"Some of these units need rows of {path} and others its columns, which cannot train together; choose "
                "units of one kind."
            )
    return [Part(path, side, tuple(sorted(index))) for (path, side), index in indices.items()]


def _of_layer(layer: Layer, chosen: Mapping[UnitKind, Sequence[int]]) -> list[Part]:
    """Return the parts of the chosen units of one layer."""
    parts: list[Part] = []
    if chosen[UnitKind.NEURON]:
        parts += _of_neurons(layer, chosen[UnitKind.NEURON])
    if chosen[UnitKind.HEAD]:
        parts += _of_heads(layer, chosen[UnitKind.HEAD])
    if chosen[UnitKind.LAYER]:
        if not isinstance(layer.mlp, Mlp):
            raise UnsupportedModel("Layers with experts cannot be fine-tuned yet; choose heads or experts.")
        parts += _of_rows(layer, range(layer.count(UnitKind.ROW)))
    if chosen[UnitKind.EXPERT]:
        assert isinstance(layer.mlp, Experts)  # only these layers have experts
        parts.append(Part(layer.mlp.path, "experts", tuple(chosen[UnitKind.EXPERT])))
    return parts + _of_rows(layer, chosen[UnitKind.ROW])


def _of_rows(layer: Layer, rows: Sequence[int]) -> list[Part]:
    """Return the parts of rows, which are counted through all linear maps of a layer in order."""
    places = [(one.path, place) for one in layer.rows for place in _places(one)]
    by_path: dict[str, list[int]] = {}
    for row in rows:
        path, place = places[row]
        by_path.setdefault(path, []).append(place)
    return [Part(path, "rows", tuple(index)) for path, index in by_path.items()]


def _of_neurons(layer: Layer, neurons: Sequence[int]) -> list[Part]:
    assert isinstance(layer.mlp, Mlp)  # only dense layers have neurons
    rows = _rows(layer, {"gate": neurons, "up": neurons})
    return [*rows, Part(layer.mlp.output, "columns", tuple(neurons))]


def _of_heads(layer: Layer, heads: Sequence[int]) -> list[Part]:
    if len(layer.attentions) > 1:
        raise UnsupportedModel("Heads of layers with cross-attention cannot be fine-tuned yet; choose neurons.")
    attention, queries = layer.attentions[0], queries_of_group(layer)
    own = _channels(heads, attention.width)
    shared = _channels(sorted({head // queries for head in heads}), attention.width)
    return [*_rows(layer, {"q": own, "k": shared, "v": shared}), Part(attention.output, "columns", tuple(own))]


def _channels(units: Sequence[int], width: int) -> list[int]:
    return [unit * width + channel for unit in units for channel in range(width)]


def _rows(layer: Layer, chosen: Mapping[str, Sequence[int]]) -> list[Part]:
    """Return the rows of the named maps, those that share a module together."""
    by_path: dict[str, list[int]] = {}
    for rows in layer.rows:
        if rows.name in chosen:
            places = _places(rows)
            by_path.setdefault(rows.path, []).extend(places[index] for index in chosen[rows.name])
    return [Part(path, "rows", tuple(sorted(index))) for path, index in by_path.items()]


def _places(rows: Rows) -> list[int]:
    return [row for start, stop in rows.spans for row in range(start, stop)]


def master_of(weight: Tensor) -> Tensor:
    """Return a copy of a part of a weight for the optimiser, in float32 where the weight is coarser.

    A step is often smaller than the distance of two numbers of bfloat16, and would be rounded away each time.
    """
    return weight.to(torch.float32) if weight.dtype in (torch.bfloat16, torch.float16) else weight.clone()
