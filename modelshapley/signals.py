"""What one backward pass tells about every unit, for every example, with the weights frozen.

Gate derivative (paper, section 2, in the gate form of docs/methods.md): with a gate of 1 on a unit's
activation z, dLoss_b/dgate = sum over positions and channels of z * dLoss_b/dz.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modelshapley.anatomy import Anatomy, Site
from modelshapley.errors import NotFinite
from modelshapley.gates import factors_of, hook
from modelshapley.units import UnitKind
from modelshapley.weights import outgoing


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
DERIVATIVES = ("gate", "offset")
SCALES = {torch.float16: (2.0**10, 2.0**5, 1.0)}
"""What losses are multiplied by on the backward pass, largest first, for dtypes whose gradients can vanish."""
Sink = Callable[[Tensor, Tensor, Tensor | None], None]


class Observer:
    """Collects signals while a backward pass runs through the observed model.

    parts: which of PARTS are wanted besides the gate derivative; the others come out as zeros and cost nothing.
    examples: how many there are in the batch, known once the forward pass has begun. real: (examples, positions),
    False where a position is padding; None where none is.
    """

    def __init__(self, anatomy: Anatomy, kinds: Collection[UnitKind], parts: Collection[str] = PARTS) -> None:
        self._kinds = tuple(kinds)
        self._parts = frozenset(parts) | {"gate"}
        self._tables = {kind: anatomy.shapes.table(kind) for kind in self._kinds}
        self._sums: dict[tuple[UnitKind, str], Tensor] = {}
        self._scale = 1.0
        self.examples = 0
        self.real: Tensor | None = None

    def backward(self, losses: Tensor, scale: float = 1.0) -> None:
        """The backward pass of losses (examples,), nats, which fills :meth:`take`.

        scale: a power of two that the losses are multiplied by on the way and the signals divided by, so that
        small gradients do not vanish in half precision.
        """
        self._scale = scale
        (losses.sum() * scale).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def take(self) -> Mapping[UnitKind, Signals]:
        """The signals of the backward pass since the last call, by kind. Raises RuntimeError without one."""
        for kind in self._kinds:
            if (kind, "gate") not in self._sums:
                raise RuntimeError(f"no backward pass reached the {kind.value}s")
        signals = {kind: Signals(**{part: self._part(kind, part) for part in PARTS}) for kind in self._kinds}
        self._sums.clear()
        return signals

    def _part(self, kind: UnitKind, part: str) -> Tensor:
        if part not in self._parts:
            return torch.zeros_like(self._sums[kind, "gate"])
        whole = self._sums[kind, part]
        whole = whole.sqrt() if part == "offset" else whole
        return whole / self._scale if part in DERIVATIVES else whole

    def sink(self, kind: UnitKind, layer: int, site: Site, weights: Callable[[], Tensor]) -> Sink:
        """A function that adds what one activation tells: (z, dLoss/dz, index of experts or None).

        weights: sum of |weights| that consume each channel of z, (channels,), or of each unit for experts.
        """

        def add(z: Tensor, dz: Tensor, index: Tensor | None) -> None:
            read = (
                _Experts(site.count, self.examples, index) if index is not None else _Channels(site, self.examples)
            )
            for part, value in self._read(read, _wide(z), _wide(dz), weights).items():
                total = self._sums.get((kind, part))
                if total is None:
                    shape = (self.examples, *self._tables[kind])
                    total = self._sums[kind, part] = torch.zeros(shape, device=value.device)
                total.select(1, layer).narrow(1, site.first, site.count).add_(value.to(total.device))

        return add

    def _read(
        self, read: _Channels | _Experts, z: Tensor, dz: Tensor, weights: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """Each part by unit, (examples, units of the site)."""
        found = {"gate": read.units(read.sums(z * dz), "sum")}
        if self._parts & {"size", "reach"}:
            z, positions = self._without_padding(z, read.positions(z))
        if "offset" in self._parts:
            # Squared, since a layer's two contributions add up before the root.
            found["offset"] = read.units(read.sums(dz).square(), "sum")
        if "size" in self._parts:
            found["size"] = read.units(read.sums(z.abs()) / positions, "mean")
        if "reach" in self._parts:
            loud = (read.sums(z.square()) / positions).sqrt()
            found["reach"] = read.units(loud * weights().to(loud), "sum")
        return found

    def _without_padding(self, z: Tensor, positions: int) -> tuple[Tensor, Tensor | int]:
        """z with 0 where a position is padding, and how many positions each example really has, (examples, 1)."""
        if self.real is None or positions != self.real.shape[1]:
            return z, positions
        real = self.real.to(z.device)
        rows = z.view(self.examples, positions, -1) * real[..., None]
        return rows.view_as(z), real.sum(1, keepdim=True)


def _wide(x: Tensor) -> Tensor:
    """In float32 at least: products and sums of half precision would be rounded, or vanish, at every step."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@dataclass(frozen=True)
class _Channels:
    """Reads an activation (..., channels) whose leading size is the examples, or windows of each."""

    site: Site
    examples: int

    def positions(self, z: Tensor) -> int:
        return z.numel() // (self.examples * z.shape[-1])

    def sums(self, values: Tensor) -> Tensor:
        """Summed over positions: (examples, channels)."""
        return values.reshape(self.examples, -1, values.shape[-1]).sum(1).float()

    def units(self, by_channel: Tensor, how: Literal["sum", "mean"]) -> Tensor:
        """A sum or mean over the channels of each unit: (examples, units)."""
        if self.site.spans:
            by_channel = torch.cat([by_channel[:, start:stop] for start, stop in self.site.spans], dim=1)
        if self.site.width == 1:
            return by_channel
        grouped = by_channel.view(self.examples, self.site.count, -1)
        return grouped.sum(-1) if how == "sum" else grouped.mean(-1)


@dataclass(frozen=True)
class _Experts:
    """Reads routing weights (tokens, experts a token); `index` tells which expert each belongs to."""

    count: int
    examples: int
    index: Tensor

    def positions(self, z: Tensor) -> int:
        return len(z) // self.examples

    def sums(self, values: Tensor) -> Tensor:
        """Summed over tokens: (examples, experts)."""
        by_expert = values.new_zeros((self.examples, self.count), dtype=torch.float32)
        return by_expert.scatter_add_(
            1, self.index.reshape(self.examples, -1), values.float().reshape(self.examples, -1)
        )

    def units(self, by_expert: Tensor, how: Literal["sum", "mean"]) -> Tensor:
        return by_expert


class _Tap(torch.autograd.Function):
    """A gate (identity without factor) that shows (z, dLoss/d(gated z)) to a sink on the backward pass."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, factor: Tensor | None, sink: Callable[[Tensor, Tensor], None]) -> Tensor:
        ctx.save_for_backward(z)
        ctx.factor, ctx.sink = factor, sink
        return z.view_as(z) if factor is None else z * factor

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        ctx.sink(z, dz)
        return (dz if ctx.factor is None else dz * ctx.factor), None, None


def _tap(site: Site, gates: Tensor | None, sink: Sink) -> Any:
    """A change for :func:`gates.hook`. gates: (examples, units of the site)."""

    def change(z: Tensor, index: Tensor | None) -> Tensor:
        factor = None if gates is None else factors_of(site, gates, z, index)
        tapped: Tensor = _Tap.apply(z, factor, lambda z, dz: sink(z, dz, index))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return tapped

    return change


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

    def start_graph(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        states = args[0] if args else kwargs["hidden_states"]
        observer.examples = len(states)
        if not states.requires_grad:
            states = states.detach().requires_grad_(True)
        return ((states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": states})

    def note_padding(_: nn.Module, __: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        # A model of two sides has two lengths, and one mask tells of one of them.
        if isinstance(mask, Tensor) and mask.dim() == 2 and sum(layer.first for layer in anatomy.layers) == 1:
            observer.real = mask.bool()

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(note_padding, with_kwargs=True).remove)
        for layer in anatomy.layers:
            if layer.first:
                block = model.get_submodule(layer.block)
                stack.callback(block.register_forward_pre_hook(start_graph, with_kwargs=True).remove)
        for kind in kinds:
            for number in range(anatomy.shapes.layers):
                for site in anatomy.sites(kind, number):
                    gate = (gates or {}).get(kind)
                    here = None if gate is None else gate[:, number, site.first : site.first + site.count]
                    sink = observer.sink(kind, number, site, partial(outgoing, model, site))
                    stack.callback(hook(model, site, _tap(site, here, sink)).remove)
        yield observer


def signals_of(
    model: nn.Module,
    anatomy: Anatomy,
    losses: Callable[[], Tensor],
    kinds: Collection[UnitKind],
    parts: Collection[str] = PARTS,
    gates: Mapping[UnitKind, Tensor] | None = None,
) -> Mapping[UnitKind, Signals]:
    """One forward and one activation-only backward pass; in float16 again with a smaller scale if one overflows.

    losses: runs the model and gives the losses, (examples,), nats. Others as in :func:`observed`. Raises
    NotFinite.
    """
    dtype = next(model.parameters()).dtype
    for scale in SCALES.get(dtype, (1.0,)):
        with observed(model, anatomy, kinds, parts, gates) as observer:
            values = losses()
            if not bool(values.isfinite().all()):
                raise NotFinite(f"A loss is {_first_not_finite(values)}{_WAYS_OUT.get(dtype, '')}.")
            observer.backward(values, scale)
            found = observer.take()
        if all(bool(getattr(signals, part).isfinite().all()) for signals in found.values() for part in PARTS):
            return found
    raise NotFinite(f"A gradient or activation is not a finite number{_WAYS_OUT.get(dtype, '')}.")


_WAYS_OUT = {torch.float16: ": float16 ends at 65504; load the model in bfloat16 or float32"}


def _first_not_finite(values: Tensor) -> float:
    return float(values.detach()[~values.isfinite()][0])
