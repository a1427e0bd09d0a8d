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
    size: mean |z| over the unit's channels and positions, in units of activation.
    reach: Euclidean norm over positions of each channel of z, times the sum of |weights| that consume the channel
        (1 for a layer, whose activation is what it adds), summed over the unit's channels; divided by the
        square root of the number of positions.
    """

    gate: Tensor
    offset: Tensor
    size: Tensor
    reach: Tensor


PARTS = ("gate", "offset", "size", "reach")
Sink = Callable[[Tensor, Tensor], None]


class Observer:
    """Collects signals while a backward pass runs through the observed model.

    parts: which of PARTS are wanted besides the gate derivative; the others come out as zeros and cost nothing.
    """

    def __init__(self, anatomy: Anatomy, kinds: Collection[UnitKind], parts: Collection[str] = PARTS) -> None:
        self._anatomy = anatomy
        self._kinds = tuple(kinds)
        self._parts = frozenset(parts) | {"gate"}
        self._sums: dict[tuple[UnitKind, int, str], Tensor] = {}

    def take(self) -> Mapping[UnitKind, Signals]:
        """The signals of the backward pass since the last call, by kind. Raises RuntimeError without one."""
        try:
            signals = {kind: Signals(**{part: self._part(kind, part) for part in PARTS}) for kind in self._kinds}
        except KeyError as error:
            raise RuntimeError(f"no backward pass reached {error.args[0]}") from error
        self._sums.clear()
        return signals

    def _part(self, kind: UnitKind, part: str) -> Tensor:
        layers = range(self._anatomy.shapes.layers)
        if part not in self._parts:
            return torch.zeros_like(torch.stack([self._sums[kind, layer, "gate"] for layer in layers], dim=1))
        whole = torch.stack([self._sums[kind, layer, part] for layer in layers], dim=1)
        return whole.sqrt() if part == "offset" else whole

    def sink(self, kind: UnitKind, layer: int, weight: Tensor | None = None) -> Sink:
        """A function that adds one activation's part: (z, dLoss/dz), both (examples, positions, channels).

        weight: the map that consumes z, (outputs, channels); None for what is added to the residual stream.
        """
        width = {UnitKind.NEURON: 1, UnitKind.HEAD: self._anatomy.head_width}.get(kind)

        def per_unit(by_channel: Tensor) -> Tensor:
            examples, channels = by_channel.shape
            return by_channel.view(examples, -1, width or channels)

        def add(z: Tensor, dz: Tensor) -> None:
            found = {"gate": per_unit((z * dz).flatten(1, -2).sum(1).float()).sum(-1)}
            if "offset" in self._parts:
                # Squared, since a layer's two contributions add up before the root.
                found["offset"] = per_unit(dz.flatten(1, -2).sum(1).float()).square().sum(-1)
            if "size" in self._parts:
                found["size"] = per_unit(z.abs().flatten(1, -2).mean(1).float()).mean(-1)
            if "reach" in self._parts:
                norm = z.flatten(1, -2).float().square().mean(1).sqrt()
                found["reach"] = per_unit(norm if weight is None else norm * weight.abs().sum(0)).sum(-1)
            for part, value in found.items():
                key = (kind, layer, part)
                self._sums[key] = self._sums[key] + value if key in self._sums else value

        return add


class _Tap(torch.autograd.Function):
    """A gate (identity without factor) that shows (z, dLoss/d(gated z)) to a sink on the backward pass."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, factor: Tensor | None, sink: Sink) -> Tensor:
        ctx.save_for_backward(z)
        ctx.factor, ctx.sink = factor, sink
        return z.view_as(z) if factor is None else z * factor

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        ctx.sink(z, dz)
        return (dz if ctx.factor is None else dz * ctx.factor), None, None


def _tap(z: Tensor, factor: Tensor | None, sink: Sink) -> Tensor:
    if factor is not None:
        channels = factor.repeat_interleave(z.shape[-1] // factor.shape[-1], -1).to(z)
        factor = channels.view(channels.shape[0], *(1,) * (z.dim() - 2), channels.shape[-1])
    tapped: Tensor = _Tap.apply(z, factor, sink)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return tapped


@contextmanager
def observed(
    model: nn.Module,
    anatomy: Anatomy,
    kinds: Collection[UnitKind],
    parts: Collection[str] = PARTS,
    gates: Mapping[UnitKind, Tensor] | None = None,
) -> Iterator[Observer]:
    """Watch the model while the block runs; afterwards the hooks are gone, also after an exception.

    Weights must be frozen: the graph starts at the input of the first block, so the backward pass is
    over activations only. gates: {kind: (examples, layers, units a layer)}, the gates at which derivatives are
    taken, each example at its own; kinds left out stand at 1. Those named must be among `kinds`.
    """
    observer = Observer(anatomy, kinds, parts)
    with ExitStack() as stack:

        def keep(handle: Any) -> None:
            stack.callback(handle.remove)

        first = model.get_submodule(anatomy.block(0))
        keep(first.register_forward_pre_hook(_start_graph, with_kwargs=True))
        for layer in range(anatomy.shapes.layers):
            attention = model.get_submodule(anatomy.attention_output(layer))
            mlp = model.get_submodule(anatomy.mlp_output(layer))
            at = {kind: gate[:, layer] for kind, gate in (gates or {}).items()}
            for kind, module in ((UnitKind.NEURON, mlp), (UnitKind.HEAD, attention)):
                if kind in kinds:
                    sink = observer.sink(kind, layer, module.get_parameter("weight"))
                    keep(module.register_forward_pre_hook(_tap_input(at.get(kind), sink)))
            if UnitKind.LAYER in kinds:
                for module in (attention, mlp):
                    sink = observer.sink(UnitKind.LAYER, layer)
                    keep(module.register_forward_hook(_tap_output(at.get(UnitKind.LAYER), sink)))
        yield observer


def _start_graph(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (args[0].detach().requires_grad_(True), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": kwargs["hidden_states"].detach().requires_grad_(True)}


def _tap_input(factor: Tensor | None, sink: Sink) -> Any:
    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (_tap(args[0], factor, sink), *args[1:])

    return hook


def _tap_output(factor: Tensor | None, sink: Sink) -> Any:
    def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return _tap(output, factor, sink)

    return hook
