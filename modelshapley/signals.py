"""What one backward pass tells about every unit, for every example, with the weights frozen.

Gate derivative (paper, section 2, in the gate form of docs/method.md): with a gate of 1 on a unit's
activation z, dLoss_b/dgate = sum over positions and channels of z * dLoss_b/dz.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelshapley.anatomy import Anatomy
from modelshapley.units import UnitKind


@dataclass(frozen=True)
class Signals:
    """Per-example derivatives for one kind of unit; both (examples, layers, units a layer).

    gate: dLoss_b/dgate at gate 1, nats; positive: turning the unit up raises the loss. A layer has
        one unit, with one gate on both of its contributions.
    offset: Euclidean norm of dLoss_b/d(a constant added to the unit's activation at every position), nats
        per unit of activation.
    """

    gate: Tensor
    offset: Tensor


class Observer:
    """Collects signals while a backward pass runs through the observed model."""

    def __init__(self, anatomy: Anatomy, kinds: Collection[UnitKind]) -> None:
        self._anatomy = anatomy
        self._kinds = tuple(kinds)
        self._gate: dict[tuple[UnitKind, int], Tensor] = {}
        self._offset_squared: dict[tuple[UnitKind, int], Tensor] = {}

    def take(self) -> Mapping[UnitKind, Signals]:
        """The signals of the backward pass since the last call, by kind. Raises RuntimeError without one."""
        layers = range(self._anatomy.shapes.layers)
        try:
            signals = {
                kind: Signals(
                    gate=torch.stack([self._gate[kind, layer] for layer in layers], dim=1),
                    offset=torch.stack([self._offset_squared[kind, layer] for layer in layers], dim=1).sqrt(),
                )
                for kind in self._kinds
            }
        except KeyError as error:
            raise RuntimeError(f"no backward pass reached {error.args[0]}") from error
        self._gate.clear()
        self._offset_squared.clear()
        return signals

    def sink(self, kind: UnitKind, layer: int) -> Callable[[Tensor, Tensor], None]:
        """A function that adds one activation's part: (z, dLoss/dz), both (examples, positions, channels)."""
        width = {UnitKind.NEURON: 1, UnitKind.HEAD: self._anatomy.head_width}.get(kind)

        def add(z: Tensor, dz: Tensor) -> None:
            examples = z.shape[0]
            channels_per_unit = width or z.shape[-1]
            by_channel = (z * dz).flatten(1, -2).sum(1).float()
            gate = by_channel.view(examples, -1, channels_per_unit).sum(-1)
            summed = dz.flatten(1, -2).sum(1).float()
            offset = summed.view(examples, -1, channels_per_unit).square().sum(-1)
            key = (kind, layer)
            self._gate[key] = self._gate[key] + gate if key in self._gate else gate
            self._offset_squared[key] = (
                self._offset_squared[key] + offset if key in self._offset_squared else offset
            )

        return add


class _Tap(torch.autograd.Function):
    """Identity that shows (z, dLoss/dz) to a sink when the backward pass comes by."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, sink: Callable[[Tensor, Tensor], None]) -> Tensor:
        ctx.save_for_backward(z)
        ctx.sink = sink
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        ctx.sink(z, dz)
        return dz, None


def _tap(z: Tensor, sink: Callable[[Tensor, Tensor], None]) -> Tensor:
    tapped: Tensor = _Tap.apply(z, sink)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return tapped


@contextmanager
def observed(model: nn.Module, anatomy: Anatomy, kinds: Collection[UnitKind]) -> Iterator[Observer]:
    """Watch the model while the block runs; afterwards the hooks are gone, also after an exception.

    Weights must be frozen: the graph starts at the input of the first block, so the backward pass is
    over activations only.
    """
    observer = Observer(anatomy, kinds)
    with ExitStack() as stack:

        def keep(handle: Any) -> None:
            stack.callback(handle.remove)

        first = model.get_submodule(anatomy.block(0))
        keep(first.register_forward_pre_hook(_start_graph, with_kwargs=True))
        for layer in range(anatomy.shapes.layers):
            attention = model.get_submodule(anatomy.attention_output(layer))
            mlp = model.get_submodule(anatomy.mlp_output(layer))
            if UnitKind.NEURON in kinds:
                keep(mlp.register_forward_pre_hook(_tap_input(observer.sink(UnitKind.NEURON, layer))))
            if UnitKind.HEAD in kinds:
                keep(attention.register_forward_pre_hook(_tap_input(observer.sink(UnitKind.HEAD, layer))))
            if UnitKind.LAYER in kinds:
                for module in (attention, mlp):
                    keep(module.register_forward_hook(_tap_output(observer.sink(UnitKind.LAYER, layer))))
        yield observer


def _start_graph(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (args[0].detach().requires_grad_(True), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": kwargs["hidden_states"].detach().requires_grad_(True)}


def _tap_input(sink: Callable[[Tensor, Tensor], None]) -> Any:
    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (_tap(args[0], sink), *args[1:])

    return hook


def _tap_output(sink: Callable[[Tensor, Tensor], None]) -> Any:
    def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return _tap(output, sink)

    return hook
