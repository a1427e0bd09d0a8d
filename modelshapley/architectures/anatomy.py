"""Locations of one model's units, layer by layer. Torch-free; the table of families is in families.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from modelshapley.contracts import Layout, Modality
from modelshapley.units import UnitKind, UnitShapes

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Attention:
    """One attention module of a layer.

    output: projection that mixes heads; a head is a slice of `width` channels of its *input*.
    added: module whose output is what attention adds to the residual stream; usually `output` itself.
    """

    output: str
    heads: int
    width: int
    added: str


@dataclass(frozen=True)
class Mlp:
    """A dense MLP. output: its last projection, a neuron being a channel of its input. added: as in Attention."""

    output: str
    neurons: int
    added: str


@dataclass(frozen=True)
class Experts:
    """A mixture of experts. path: module called with (states, indices, weights); added: as in Attention."""

    path: str
    count: int
    added: str


@dataclass(frozen=True)
class Rows:
    """Rows of one linear map: channels `spans` (start, stop) of the output of module `path`, in order."""

    name: str
    path: str
    spans: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return sum(stop - start for start, stop in self.spans)


@dataclass(frozen=True)
class Layer:
    """One layer. block: module whose input is the residual stream before it.

    norms: modules that normalise the residual stream itself, in order (models that normalise after adding).
    first: whether it is the first block of its stack, whose input is not another block's output.
    """

    block: str
    attentions: tuple[Attention, ...]
    mlp: Mlp | Experts
    rows: tuple[Rows, ...] = ()
    norms: tuple[str, ...] = ()
    first: bool = False

    def count(self, kind: UnitKind) -> int:
        match kind:
            case UnitKind.NEURON:
                return self.mlp.neurons if isinstance(self.mlp, Mlp) else 0
            case UnitKind.HEAD:
                return sum(attention.heads for attention in self.attentions)
            case UnitKind.EXPERT:
                return self.mlp.count if isinstance(self.mlp, Experts) else 0
            case UnitKind.ROW:
                return sum(rows.count for rows in self.rows)
            case UnitKind.LAYER:
                return 1


@dataclass(frozen=True)
class Site:
    """A location in the model that holds the activations of units of one kind and layer.

    side: 'input' or 'output' of module `path`, or 'routing': the weights with which experts are mixed.
    first, count: range of units of the layer; each has `width` channels, or all channels if it is 0.
    spans: channels in the order of units; empty means all, in order.
    """

    path: str
    side: Literal["input", "output", "routing"]
    first: int
    count: int
    width: int
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Anatomy:
    """Locations of all units of one model.

    auto_class: the transformers class of models for its use. opened_by: the class that opens it, if that is another.
    """

    model_type: str
    auto_class: str
    modality: Modality
    layers: tuple[Layer, ...]
    opened_by: str | None = None

    @cached_property
    def shapes(self) -> UnitShapes:
        return UnitShapes({kind: tuple(layer.count(kind) for layer in self.layers) for kind in UnitKind})

    @property
    def layout(self) -> Layout:
        """Details that :attr:`shapes` does not hold, for code without access to the model."""
        rows = [{rows.name: rows.count for rows in layer.rows} for layer in self.layers]
        return Layout(ragged=self.shapes.ragged(), projections=rows if any(rows) else [])

    def sites(self, kind: UnitKind, layer: int) -> list[Site]:
        """Return the sites of the units of a kind in layer `layer`; empty if it has none."""
        anatomy_layer = self.layers[layer]
        match kind:
            case UnitKind.NEURON if isinstance(anatomy_layer.mlp, Mlp):
                return [Site(anatomy_layer.mlp.output, "input", 0, anatomy_layer.mlp.neurons, 1)]
            case UnitKind.EXPERT if isinstance(anatomy_layer.mlp, Experts):
                return [Site(anatomy_layer.mlp.path, "routing", 0, anatomy_layer.mlp.count, 1)]
            case UnitKind.HEAD:
                starts = _starts([attention.heads for attention in anatomy_layer.attentions])
                return [
                    Site(attention.output, "input", start, attention.heads, attention.width)
                    for attention, start in zip(anatomy_layer.attentions, starts, strict=True)
                ]
            case UnitKind.ROW:
                starts = _starts([rows.count for rows in anatomy_layer.rows])
                return [
                    Site(rows.path, "output", start, rows.count, 1, rows.spans)
                    for rows, start in zip(anatomy_layer.rows, starts, strict=True)
                ]
            case UnitKind.LAYER:
                return [Site(part.added, "output", 0, 1, 0) for part in (*anatomy_layer.attentions, anatomy_layer.mlp)]
        return []

    def row_groups(self, kind: UnitKind, layer: int) -> list[list[int]]:
        """Return the rows that belong to each unit of a kind in a layer.

        A layer has all rows; a head has those of q, and those of k and v that it reads, perhaps shared with other
        heads.

        Raises ValueError for kinds that rows do not make up.
        """
        anatomy_layer = self.layers[layer]
        if kind is UnitKind.LAYER:
            return [list(range(anatomy_layer.count(UnitKind.ROW)))]
        if kind is not UnitKind.HEAD:
            raise ValueError(f"rows do not make up {kind.value}s")
        counts = {rows.name: rows.count for rows in anatomy_layer.rows}
        starts = dict(zip(counts, _starts(list(counts.values())), strict=True))
        groups = []
        for number, attention in enumerate(anatomy_layer.attentions):
            for head in range(attention.heads):
                group: list[int] = []
                for part in ("q", "k", "v"):
                    name = f"{'cross ' * number}{part}"
                    width = attention.width
                    shared = head * (counts[name] // width) // attention.heads
                    group += range(starts[name] + shared * width, starts[name] + (shared + 1) * width)
                groups.append(group)
        return groups


def _starts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:place]) for place in range(len(sizes))]
