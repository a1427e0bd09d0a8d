"""Signals of every unit for every example, from one backward pass with the weights frozen.

Gate derivative (paper, section 2, in the gate form of docs/methods.md): with a gate of 1 on a unit's
activation z, dLoss_b/dgate = sum over positions and channels of z * dLoss_b/dz.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelshapley.architectures.anatomy import Anatomy, Site
from modelshapley.errors import NotFinite
from modelshapley.interventions.gates import hook
from modelshapley.interventions.weights import outgoing
from modelshapley.signals.readers import Channels, Experts, at_least_float32
from modelshapley.signals.taps import Sink, tap, thin_tap
from modelshapley.units import UnitKind


@dataclass(frozen=True)
class Signals:
    """Per-example derivatives for one kind of unit; both (examples, layers, units a layer).

    gate: dLoss_b/dgate at gate 1, nats; positive: turning the unit up raises the loss. A layer has
        one unit, with one gate on both of its contributions.
    offset: Euclidean norm of dLoss_b/d(a constant added to the unit's activation at every position), nats
        per unit of activation.
    size: mean |z| over the unit's channels and positions, in units of activation.
    weighted_norm: Euclidean norm over positions of each channel of z, times the sum of |weights| that consume the
    channel
        (1 for a layer, whose activation is what it adds), summed over the unit's channels; divided by the
        square root of the number of positions.
    """

    gate: Tensor
    offset: Tensor
    size: Tensor
    weighted_norm: Tensor


PARTS = ("gate", "offset", "size", "weighted_norm")
DERIVATIVES = ("gate", "offset")
DERIVED = frozenset(DERIVATIVES)
SCALES = {torch.float16: (2.0**10, 2.0**5, 1.0)}
"""Factors of the losses on the backward pass, largest first, for dtypes whose gradients can vanish."""


class Observer:
    """Collector of signals while a backward pass runs through the observed model.

    parts: those of PARTS to compute besides the gate derivative; the others are zeros and cost nothing. examples: size
    of the batch, known once the forward pass has begun. real: (examples, positions), False where a position is padding;
    None without padding.
    """

    def __init__(self, anatomy: Anatomy, kinds: Collection[UnitKind], parts: Collection[str] = PARTS) -> None:
        self._kinds = tuple(kinds)
        self._parts = frozenset(parts) | {"gate"}
        self._tables = {kind: anatomy.shapes.table(kind) for kind in self._kinds}
        self._sums: dict[tuple[UnitKind, str], Tensor] = {}
        self._derived: set[int] = set()
        self._scale = 1.0
        self.examples = 0
        self.real: Tensor | None = None

    def backward(self, losses: Tensor, scale: float = 1.0) -> None:
        """Run the backward pass of losses (examples,), nats, whose signals :meth:`take` returns.

        scale: a power of two that the losses are multiplied by on the way and the signals divided by, so that
        small gradients do not vanish in half precision.
        """
        self._scale = scale
        (losses.sum() * scale).backward()

    def take(self) -> Mapping[UnitKind, Signals]:
        """Return the signals of the backward pass since the last call, by kind. Raises RuntimeError without one."""
        self._add_derived()
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
        """Return a function that adds the signals of one activation: (z, dLoss/dz, index of experts or None).

        weights: sum of |weights| that consume each channel of z, (channels,), or of each unit for experts.
        """

        def add(z: Tensor, dz: Tensor, index: Tensor | None) -> None:
            read = Experts(site.count, self.examples, index) if index is not None else Channels(site, self.examples)
            for part, value in self._read(read, z, dz, weights).items():
                self._add(kind, part, layer, site.first, value)

        return add

    def thin_sink(self, layer: int, site: Site, bias: Tensor | None) -> Callable[[Tensor], None]:
        """Return a sink for what a layer adds, y = Wz + bias, that needs only dLoss/dy: z is observed elsewhere.

        The missing part of y * dLoss/dy is z * dLoss/dz, which :meth:`take` adds.
        """
        self._derived.add(layer)

        def add(dy: Tensor) -> None:
            sums = Channels(site, self.examples).sums(at_least_float32(dy))
            if bias is not None:
                self._add(UnitKind.LAYER, "gate", layer, 0, (sums * at_least_float32(bias)).sum(-1, keepdim=True))
            if "offset" in self._parts:
                self._add(UnitKind.LAYER, "offset", layer, 0, sums.square().sum(-1, keepdim=True))

        return add

    def _add(self, kind: UnitKind, part: str, layer: int, first: int, value: Tensor) -> None:
        """Add a value (examples, units) of the units from `first` on."""
        total = self._sums.get((kind, part))
        if total is None:
            shape = (self.examples, *self._tables[kind])
            total = self._sums[kind, part] = torch.zeros(shape, device=value.device)
        total.select(1, layer).narrow(1, first, value.shape[1]).add_(value.to(total.device))

    def _add_derived(self) -> None:
        for layer in self._derived:
            for kind in (UnitKind.HEAD, UnitKind.NEURON):
                if (kind, "gate") in self._sums:
                    of_units = self._sums[kind, "gate"][:, layer].sum(-1, keepdim=True)
                    self._add(UnitKind.LAYER, "gate", layer, 0, of_units)

    def _read(
        self, read: Channels | Experts, z: Tensor, dz: Tensor, weights: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """Compute each part by unit, (examples, units of the site)."""
        parts = {"gate": read.units(read.products(z, dz), "sum")}
        if self._parts & {"size", "weighted_norm"}:
            z, positions = self._without_padding(at_least_float32(z), read.positions(z))
        if "offset" in self._parts:
            # Squares, because a layer's two contributions are summed before the root.
            parts["offset"] = read.units(read.sums(at_least_float32(dz)).square(), "sum")
        if "size" in self._parts:
            parts["size"] = read.units(read.sums(z.abs()) / positions, "mean")
        if "weighted_norm" in self._parts:
            rms = (read.sums(z.square()) / positions).sqrt()
            parts["weighted_norm"] = read.units(rms * weights().to(rms), "sum")
        return parts

    def _without_padding(self, z: Tensor, positions: int) -> tuple[Tensor, Tensor | int]:
        """Return z with 0 at padding positions, and the number of real positions of each example, (examples, 1)."""
        if self.real is None or positions != self.real.shape[1]:
            return z, positions
        real = self.real.to(z.device)
        rows = z.view(self.examples, positions, -1) * real[..., None]
        return rows.view_as(z), real.sum(1, keepdim=True)


@contextmanager
def observed(
    model: nn.Module,
    anatomy: Anatomy,
    kinds: Collection[UnitKind],
    parts: Collection[str] = PARTS,
    gates: Mapping[UnitKind, Tensor] | None = None,
) -> Iterator[Observer]:
    """Observe the model while the block runs; the hooks are removed afterwards, also after an exception.

    Weights must be frozen: the graph starts at the input of the first block, so the backward pass is
    over activations only. gates: {kind: (examples, layers, units a layer)}, the gates at which derivatives are
    taken, separately for each example; other kinds stay at 1. The named kinds must be among `kinds`.
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
        # An encoder-decoder model has two lengths, and one mask describes only one of them.
        if isinstance(mask, Tensor) and mask.dim() == 2 and sum(layer.first for layer in anatomy.layers) == 1:
            observer.real = mask.bool()

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(note_padding, with_kwargs=True).remove)
        for layer in anatomy.layers:
            if layer.first:
                block = model.get_submodule(layer.block)
                stack.callback(block.register_forward_pre_hook(start_graph, with_kwargs=True).remove)
        derived = _derivable(anatomy, kinds, parts, gates)
        for kind in kinds:
            for number in range(anatomy.shapes.layers):
                for site in anatomy.sites(kind, number):
                    if kind is UnitKind.LAYER and number in derived:
                        bias = getattr(model.get_submodule(site.path), "bias", None)
                        thin = observer.thin_sink(number, site, bias)
                        if bias is not None or "offset" in parts:
                            stack.callback(hook(model, site, thin_tap(thin)).remove)
                        continue
                    gate = (gates or {}).get(kind)
                    site_gates = None if gate is None else gate[:, number, site.first : site.first + site.count]
                    sink = observer.sink(kind, number, site, partial(outgoing, model, site))
                    stack.callback(hook(model, site, tap(site, site_gates, sink)).remove)
        yield observer


def _derivable(
    anatomy: Anatomy, kinds: Collection[UnitKind], parts: Collection[str], gates: Mapping[UnitKind, Tensor] | None
) -> set[int]:
    """Return the layers whose activations need not be stored: they are linear in those of their heads and neurons.

    This holds if a layer's contributions are the direct outputs of the projections of its heads and neurons, if these
    are observed too, at gate 1, and if only derivatives are needed.
    """
    if gates or not {UnitKind.HEAD, UnitKind.NEURON, UnitKind.LAYER} <= set(kinds) or not set(parts) <= DERIVED:
        return set()
    layers = set()
    for number in range(anatomy.shapes.layers):
        inputs = {s.path for kind in (UnitKind.HEAD, UnitKind.NEURON) for s in anatomy.sites(kind, number)}
        if inputs == {site.path for site in anatomy.sites(UnitKind.LAYER, number)}:
            layers.add(number)
    return layers


def signals_of(
    model: nn.Module,
    anatomy: Anatomy,
    losses: Callable[[], Tensor],
    kinds: Collection[UnitKind],
    parts: Collection[str] = PARTS,
    gates: Mapping[UnitKind, Tensor] | None = None,
) -> Mapping[UnitKind, Signals]:
    """Run one forward and one activation-only backward pass; in float16 again with a smaller scale on overflow.

    losses: runs the model and returns the losses, (examples,), nats. The others as in :func:`observed`. Raises
    NotFinite.
    """
    dtype = next(model.parameters()).dtype
    name = str(dtype).removeprefix("torch.")
    for scale in SCALES.get(dtype, (1.0,)):
        with observed(model, anatomy, kinds, parts, gates) as observer:
            values = losses()
            if not bool(values.isfinite().all()):
                raise NotFinite.of("A loss", _first_not_finite(values), name)
            observer.backward(values, scale)
            signals_by_kind = observer.take()
        if all(bool(getattr(signals, part).isfinite().all()) for signals in signals_by_kind.values() for part in PARTS):
            return signals_by_kind
    raise NotFinite.of("A gradient or activation", math.nan, name)


def _first_not_finite(values: Tensor) -> float:
    return float(values.detach()[~values.isfinite()][0])
