"""One forward pass followed block by block: what blocks hand on is kept, or taken from what was kept before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modelshapley.interventions.forwards import Forward

SAME = 0.01  # of the largest of the numbers: other inputs differ by more somewhere, roundings by far less


class Broken(Exception):
    """The blocks are no chain, or the pass is not the one that was kept; what it gives must not be used."""


@dataclass
class CachedPass:
    """What is kept of one pass.

    inputs: sums over the last dimension of every tensor that the first block was given, by which the same pass is
    known again. every: boundaries that are a multiple of it are kept; 0: not decided yet. states: {boundary b:
    (the input of block b, in host memory; the device it goes to)}. reserved: bytes that the states may take.
    """

    inputs: list[Tensor] = field(default_factory=list)
    every: int = 0
    states: dict[int, tuple[Tensor, torch.device]] = field(default_factory=dict)
    reserved: int = 0

    def nearest(self, layer: int) -> int:
        """The last kept boundary at or below `layer`; 0, before the first block, where there is none."""
        return max((boundary for boundary in self.states if boundary <= layer), default=0)


class ReplayPass:
    """Follows one pass whose layers below `first` are intact.

    It starts at the kept boundary nearest to `first`, and keeps what it computes up to there. plan: told the bytes
    of a boundary, sets `every` and `reserved`; asked where they are not decided yet.

    The wrapped blocks raise Broken where they are not called one after the other, each once and with what the one
    before handed on; where a block hands on more than a hidden state; and where the inputs are not those of the
    pass that was kept.
    """

    def __init__(self, layers: int, kept: CachedPass, first: int, plan: Callable[[CachedPass, int], None]) -> None:
        self._layers, self._kept, self._first, self._plan = layers, kept, first, plan
        self._start = kept.nearest(first)
        self._next = 0
        self._handed: Tensor | None = None

    def wrap(self, layer: int, forward: Forward) -> Forward:
        def followed(*args: Any, **kwargs: Any) -> Any:
            hidden = self._read(layer, args, kwargs)
            if layer >= self._start:
                handed = forward(*args, **kwargs)
                if not isinstance(handed, Tensor):
                    raise Broken(f"layer {layer} hands on more than a hidden state")
                self._keep(layer + 1, handed)
            else:
                handed = self._remembered(layer + 1, hidden)
            self._handed = handed
            return handed

        return followed

    def finish(self) -> None:
        """Raise Broken where the pass did not get through all blocks."""
        if self._next != self._layers:
            raise Broken(f"only {self._next} of {self._layers} layers were called")

    def _read(self, layer: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """The hidden state that a block is given, once all is as it should be."""
        if layer != self._next:
            raise Broken("layers are not called one after the other, each once")
        self._next += 1
        hidden = args[0] if args else kwargs.get("hidden_states")
        if not isinstance(hidden, Tensor):
            raise Broken(f"layer {layer} is not given a hidden state")
        if layer == 0:
            self._recognise([_sums(tensor) for tensor in _tensors([*args, kwargs])])
        elif hidden is not self._handed:
            raise Broken(f"layer {layer} reads something else than what layer {layer - 1} hands on")
        return hidden

    def _recognise(self, inputs: list[Tensor]) -> None:
        if not self._kept.inputs:
            self._kept.inputs = inputs
        elif len(inputs) != len(self._kept.inputs) or not all(map(_same, inputs, self._kept.inputs)):
            raise Broken("the first layer is given other inputs than before")

    def _keep(self, boundary: int, handed: Tensor) -> None:
        if boundary > min(self._first, self._layers - 1) or boundary in self._kept.states:
            return
        if not self._kept.every:
            self._plan(self._kept, handed.nbytes)
        if boundary % self._kept.every == 0:
            # A copy, also on the CPU: the next block may write into what it was given.
            there = handed.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            self._kept.states[boundary] = there, handed.device

    def _remembered(self, boundary: int, hidden: Tensor) -> Tensor:
        if boundary < self._start:
            # It has no values: whoever reads it, other than the next block that is not computed, fails.
            return torch.empty_like(hidden, device="meta")
        state, device = self._kept.states[boundary]
        return state.to(device, copy=True)


def _tensors(given: Any) -> Iterator[Tensor]:
    """The tensors among arguments, those in lists and mappings too, in order."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, Mapping):
        yield from _tensors(list(given.values()))
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _tensors(one)


def _sums(tensor: Tensor) -> Tensor:
    return (tensor.sum(-1, dtype=torch.float32) if tensor.dim() else tensor.float()).cpu()


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal but for roundings; masks hold the largest numbers there are, whose sums may be infinite."""
    if one.shape != other.shape:
        return False
    finite = other[other.isfinite()]
    most = float(finite.abs().max()) if len(finite) else 0.0
    return torch.allclose(one, other, rtol=0, atol=SAME * most, equal_nan=True)
