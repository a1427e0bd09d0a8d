"""Chosen rows or columns of linear maps as the only parameters that train; the whole weights stay frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from modelshapley.applications.plans import queries_of_group
from modelshapley.architectures.anatomy import Anatomy, Layer, Mlp, Rows
from modelshapley.errors import UnsupportedModel
from modelshapley.interventions.forwards import Forward, replaced_forward
from modelshapley.interventions.weights import oriented
from modelshapley.units import Deactivation, UnitKind


@dataclass(frozen=True)
class Part:
    """Trained part of one linear map: rows (outputs) with their biases, or columns (inputs)."""

    path: str
    side: str  # 'rows' or 'columns'
    index: tuple[int, ...]


TRAINABLE = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER, UnitKind.ROW)


def parts_of(anatomy: Anatomy, units: Deactivation) -> list[Part]:
    """Return the rows and columns that belong to units.

    A neuron has its rows of the gate and up maps and its column of the last MLP projection; a head its rows of q, those
    of the k and v that it reads (which other heads may share), and its columns of the output projection; a layer all
    rows of its linear maps; a row itself. Raises UnsupportedModel for experts and layers of experts, for families whose
    maps are not named, and for units of which one needs rows and another columns of the same map.
    """
    other = [kind.value for kind, _ in units.units if kind not in TRAINABLE]
    if other:
        raise UnsupportedModel(
            f"Neurons, heads, layers and rows can be fine-tuned, but not {other[0]}s; leave those out."
        )
    indices: dict[tuple[str, str], set[int]] = {}
    for number, layer in enumerate(anatomy.layers):
        chosen = {kind: [unit[-1] for unit in units.of_kind(kind) if unit[0] == number] for kind in TRAINABLE}
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
            raise UnsupportedModel("Layers with experts cannot be fine-tuned yet; choose heads.")
        parts += _of_rows(layer, range(layer.count(UnitKind.ROW)))
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


class _Linear(torch.autograd.Function):
    """A linear map whose backward pass computes the gradients of its input and of one sub-matrix, and no others."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, part: Tensor, bias_part: Tensor | None, weight: Tensor, bias: Tensor | None, cut: _Cut
    ) -> Tensor:
        inputs = x if cut.side == "rows" else x.index_select(-1, cut.index)
        ctx.save_for_backward(inputs, weight)
        ctx.cut = cut
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        chosen = grad.index_select(-1, ctx.cut.index) if ctx.cut.side == "rows" else grad
        flat = chosen.reshape(-1, chosen.shape[-1])
        part = flat.T @ inputs.reshape(-1, inputs.shape[-1]) if ctx.needs_input_grad[1] else None
        bias = flat.sum(0) if ctx.needs_input_grad[2] else None
        return (grad @ weight if ctx.needs_input_grad[0] else None), part, bias, None, None, None


@dataclass(frozen=True)
class _Cut:
    side: str
    index: Tensor


class SubMatrix:
    """The trained part of one module: parameters, which :meth:`write` copies into the frozen weight."""

    def __init__(self, model: nn.Module, part: Part) -> None:
        self.part, self.module = part, model.get_submodule(part.path)
        self._weight = oriented(self.module)  # a view: writing into it changes the module
        bias = dict(self.module.named_parameters(recurse=False)).get("bias")
        self._bias = None if bias is None else bias.detach()
        self._cut = _Cut(part.side, torch.tensor(part.index, device=self._weight.device))
        self.weight = nn.Parameter(self._weight.index_select(self.dimension, self._cut.index).clone())
        has_bias = self._bias is not None and part.side == "rows"
        self.bias = nn.Parameter(self._bias[self._cut.index].clone()) if has_bias and self._bias is not None else None

    @property
    def dimension(self) -> int:
        """Dimension of the weight (outputs x inputs) that is cut: 0 for rows, 1 for columns."""
        return 0 if self.part.side == "rows" else 1

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the trained parameters by name."""
        named = {f"{self.part.path}.{self.part.side}.weight": self.weight}
        if self.bias is not None:
            named[f"{self.part.path}.{self.part.side}.bias"] = self.bias
        return named

    @torch.no_grad()
    def write(self) -> None:
        """Copy the parameters into the module's weights, which forward passes use."""
        self._weight.index_copy_(self.dimension, self._cut.index, self.weight)
        if self.bias is not None and self._bias is not None:
            self._bias.index_copy_(0, self._cut.index, self.bias)

    def wrap(self, _: Forward) -> Forward:
        """Return the forward of the module that lets its sub-matrix train."""

        def run(x: Tensor) -> Tensor:
            result: Tensor = _Linear.apply(x, self.weight, self.bias, self._weight, self._bias, self._cut)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return result

        return run


def named(parts: Sequence[SubMatrix]) -> dict[str, nn.Parameter]:
    """Return the trained parameters of all parts by name."""
    return {name: parameter for part in parts for name, parameter in part.parameters().items()}


def write_all(parts: Sequence[SubMatrix]) -> None:
    """Copy the parameters of all parts into the model's weights, after a step of an optimiser."""
    for part in parts:
        part.write()


@contextmanager
def training(model: nn.Module, anatomy: Anatomy, units: Deactivation) -> Iterator[list[SubMatrix]]:
    """Let only these units of a frozen model train while the block runs; what they have become stays afterwards.

    Yields the sub-matrices. After each step of an optimiser, :func:`write_all` must be called.
    """
    parts = [SubMatrix(model, part) for part in parts_of(anatomy, units)]
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(replaced_forward(part.module, part.wrap))
        yield parts
