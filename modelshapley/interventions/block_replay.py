"""One forward pass, block by block: outputs of blocks are stored, or replayed from an earlier pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modelshapley.interventions.forwards import Forward
from modelshapley.interventions.stored_states import DeviceTier, StoredState

INPUT_TOLERANCE = 0.01  # relative to the largest number: other inputs differ by more somewhere, rounding by far less


class ChainBroken(Exception):
    """The blocks are not a chain, or the pass is not the stored one; its result must not be used."""


@dataclass
class CachedPass:
    """Stored states of one pass.

    inputs: sums over the last dimension of every tensor that the first block received, which identify the pass.
    stride: boundaries that are a multiple of it are stored; 0 means not decided yet. states: {boundary b: the input of
    block b}. reserved: bytes that the states may occupy in host memory.
    """

    inputs: list[Tensor] = field(default_factory=list)
    stride: int = 0
    states: dict[int, StoredState] = field(default_factory=dict)
    reserved: int = 0

    def nearest(self, layer: int) -> int:
        """Return the last stored boundary at or below `layer`; 0, before the first block, if there is none."""
        return max((boundary for boundary in self.states if boundary <= layer), default=0)


class ReplayPass:
    """One pass whose layers below `first` are intact, replayed from a cached pass.

    It starts at the stored boundary nearest to `first`, and stores what it computes up to there. plan_boundaries:
    sets `stride` and `reserved`, given the bytes of a boundary; called if they are not decided yet. tier: copies of
    stored states on the model's devices.

    The wrapped blocks raise ChainBroken if they are not called one after the other, each once and with the output of
    the one before; if a block returns more than a hidden state; and if the inputs are not those of the cached pass.
    """

    def __init__(
        self,
        layers: int,
        cached: CachedPass,
        first: int,
        plan_boundaries: Callable[[CachedPass, int], None],
        tier: DeviceTier,
    ) -> None:
        self._layers, self._cached, self._first, self._plan_boundaries = layers, cached, first, plan_boundaries
        self._tier = tier
        self._start = cached.nearest(first)
        self._next = 0
        self._last_output: Tensor | None = None

    def wrap(self, layer: int, forward: Forward) -> Forward:
        """Return a forward for a block that computes or replays its output."""

        def replayed(*args: Any, **kwargs: Any) -> Any:
            hidden = self._check_call(layer, args, kwargs)
            if layer >= self._start:
                output = forward(*args, **kwargs)
                if not isinstance(output, Tensor):
                    raise ChainBroken(f"layer {layer} returns more than a hidden state")
                self._store(layer + 1, output)
            else:
                output = self._cached_output(layer + 1, hidden)
            self._last_output = output
            return output

        return replayed

    def finish(self) -> None:
        """Raise ChainBroken if the pass did not call all blocks."""
        if self._next != self._layers:
            raise ChainBroken(f"only {self._next} of {self._layers} layers were called")

    def _check_call(self, layer: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """Return the hidden state that a block receives. Raises ChainBroken for a call out of order."""
        if layer != self._next:
            raise ChainBroken("layers are not called one after the other, each once")
        self._next += 1
        hidden = args[0] if args else kwargs.get("hidden_states")
        if not isinstance(hidden, Tensor):
            raise ChainBroken(f"layer {layer} receives no hidden state")
        if layer == 0:
            self._check_inputs([_fingerprint(tensor) for tensor in _tensors([*args, kwargs])])
        elif hidden is not self._last_output:
            raise ChainBroken(f"layer {layer} reads something other than the output of layer {layer - 1}")
        return hidden

    def _check_inputs(self, inputs: list[Tensor]) -> None:
        if not self._cached.inputs:
            self._cached.inputs = inputs
        elif len(inputs) != len(self._cached.inputs) or not all(map(_close, inputs, self._cached.inputs)):
            raise ChainBroken("the first layer receives other inputs than before")

    def _store(self, boundary: int, output: Tensor) -> None:
        if boundary > min(self._first, self._layers - 1) or boundary in self._cached.states:
            return
        if not self._cached.stride:
            self._plan_boundaries(self._cached, output.nbytes)
        if boundary % self._cached.stride == 0:
            # A copy, even on the CPU: the next block may write into its input.
            stored = output.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            self._cached.states[boundary] = StoredState(stored, output.device)

    def _cached_output(self, boundary: int, hidden: Tensor) -> Tensor:
        if boundary < self._start:
            # A meta tensor has no values, so that any code but the next block, which is skipped, fails when it reads
            # it.
            return torch.empty_like(hidden, device="meta")
        return self._tier.read(self._cached.states[boundary])


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors among arguments, also inside lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _tensors(element)


def _fingerprint(tensor: Tensor) -> Tensor:
    return (tensor.sum(-1, dtype=torch.float32) if tensor.dim() else tensor.float()).cpu()


def _close(one: Tensor, other: Tensor) -> bool:
    """Return whether two sums agree up to rounding; masks hold huge numbers, whose sums may be infinite."""
    if one.shape != other.shape:
        return False
    finite = other[other.isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    return torch.allclose(one, other, rtol=0, atol=INPUT_TOLERANCE * largest, equal_nan=True)
