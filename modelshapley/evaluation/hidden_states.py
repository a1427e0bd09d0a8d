"""Cached hidden states of a task's examples between layers, so that a trial starts at its first touched layer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.interventions.block_replay import CachedPass, ChainBroken, ReplayPass
from modelshapley.interventions.gates import treated
from modelshapley.interventions.suffix import around_blocks
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import first_line
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation, UnitKind

log = logging.getLogger(__name__)
Work = Callable[[], Tensor]
Positions = tuple[int, ...]
# How a model may fail when it reads tensors that were not computed. A fault of the model itself, or a lack of
# memory, shows again when everything is computed, and is reported there.
MODEL_FAILURES = (ChainBroken, RuntimeError, MemoryError, ValueError, TypeError, LookupError, AttributeError)
TOLERANCE = 1e-4  # relative to each number, or to the median magnitude


class _StopForward(Exception):
    """Ends a forward pass after the layer of interest."""


class HiddenStateCache:
    """Layer outputs of one model in its passes over one task's examples, within `budget` bytes.

    examples: number of examples of the task; each pass gets its share of the remaining budget. make_room: called
    with the number of bytes that are about to be stored. refused: why every trial must compute every layer; None if
    the cache can be used.
    """

    def __init__(
        self,
        examples: int,
        budget: int,
        refused: str | None = None,
        make_room: Callable[[int], None] = lambda needed: None,
    ) -> None:
        self._examples, self._budget, self._make_room = examples, budget, make_room
        self.refused = refused
        self._passes: dict[Positions, CachedPass] = {}
        self._chunks: dict[int, int] = {}
        self._used: list[Positions] = []

    @property
    def reserved(self) -> int:
        """Bytes that the states occupy or may still occupy."""
        return sum(cached.reserved for cached in self._passes.values())

    @property
    def bytes(self) -> int:
        """Bytes of host memory that the states occupy now."""
        return sum(state.host.nbytes for cached in self._passes.values() for state in cached.states.values())

    def clear(self) -> None:
        """Forget all states; later passes store them again."""
        self._passes.clear()
        self._chunks.clear()

    def stored_inputs(self, positions: Positions) -> dict[int, Tensor]:
        """Return {layer: its input} of one pass, for the layers whose input is stored."""
        return {layer: state.host for layer, state in self._passes[positions].states.items()}

    # -- chunks: a pass is identified by its examples, so chunks must be cut as they were before ---

    def chunk(self, start: int, most: int) -> int:
        """Return the size for the chunk at `start`: the same as before, or `most` for a new one."""
        return min(self._chunks.get(start, most), most)

    def begin(self) -> None:
        """Prepare for a chunk, perhaps after one that did not fit the memory."""
        self._used = []

    def settle(self, start: int, count: int) -> None:
        """Record that the chunk of `count` examples at `start` was measured; forget other passes over its examples."""
        self._chunks[start] = count
        for positions in [p for p in self._passes if p not in self._used and start <= p[0] and p[0] < start + count]:
            del self._passes[positions]

    # -- passes ------------------------------------------------------------------------------------

    def run(self, loaded: LoadedModel, positions: Positions, first: int, work: Work) -> Tensor:
        """Return ``work()``, one forward pass over the examples at `positions`, with the layers below `first` intact.

        Only layers from the nearest stored boundary on are computed. If the blocks turn out not to be a chain, all
        layers are computed, now and in later passes. Errors of `work` propagate; nothing is left on the model.
        """
        if self.refused is None:
            try:
                return self._run_replaying(loaded, positions, first, work)
            except ChainBroken as error:
                self.refuse(str(error))
        return work()

    def refuse(self, why: str) -> None:
        """Stop caching, for the reason given."""
        log.warning("every layer is computed for every trial: %s", why)
        self.refused = why
        self.clear()

    def _run_replaying(self, loaded: LoadedModel, positions: Positions, first: int, work: Work) -> Tensor:
        self._used.append(positions)
        cached, layers = self._passes.get(positions, CachedPass()), loaded.anatomy.shapes.layers
        plan_boundaries = partial(self._plan_boundaries, layers, positions)
        replay = ReplayPass(layers, cached, first, plan_boundaries, loaded.device_tier)
        with around_blocks(loaded.model, loaded.anatomy, replay.wrap):
            result = work()
        replay.finish()
        if cached.stride:
            self._passes[positions] = cached
        return result

    def _plan_boundaries(self, layers: int, positions: Positions, cached: CachedPass, size: int) -> None:
        """Decide which boundaries of `size` bytes a pass may store, within its share of the remaining budget."""
        unseen = self._examples - sum(len(seen) for seen in self._passes)
        share = max(self._budget - self.reserved, 0) * len(positions) // max(unseen, len(positions))
        cached.stride = -(-layers // (share // size + 1))
        cached.reserved = (-(-layers // cached.stride) - 1) * size
        self._make_room(cached.reserved)


# -- whether a model and task allow it -------------------------------------------------------------


def refusal(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> str | None:
    """Return why a trial of this model on this task must compute every layer; None if it need not.

    The task must declare that its answers take one pass. The blocks must prove to be a chain: each one alone, given
    its stored input, must output the same as in a full pass, although another pass with a layer off ran in between,
    and the logits must agree as well. One example suffices; the test takes about three of its passes.
    """
    if not task.single_pass:
        return f"answers of task {task.info.id!r} may take several forward passes"
    outside = next(_sites_outside(loaded.anatomy), None)
    if outside:
        return f"{outside} lies outside its layer"
    try:
        with torch.inference_mode():
            _check_chain(loaded, task, examples)
    except MODEL_FAILURES as error:
        return first_line(error)
    return None


def _sites_outside(anatomy: Anatomy) -> Iterator[str]:
    for number, layer in enumerate(anatomy.layers):
        for kind in UnitKind:
            for site in anatomy.sites(kind, number):
                if not site.path.startswith(f"{layer.block}."):
                    yield site.path


def _check_chain(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> None:
    """Raise ChainBroken, or what a model raises when it misses a tensor, if the blocks are not a chain."""
    layers, states = loaded.anatomy.shapes.layers, HiddenStateCache(1, sys.maxsize)
    work = partial(task.correct, loaded, examples[:1])

    def logits(first: int) -> Tensor:
        with logits_of(loaded) as passes:
            states.run(loaded, (0,), first, work)
        if states.refused is not None or len(passes) != 1:
            raise ChainBroken(states.refused or "an answer takes several forward passes")
        return passes[0]

    expected = logits(layers)
    # From here on, anything that modules remember besides their outputs belongs to another pass. Layers are tested from
    # last to first, so that this still holds for all layers below the tested one.
    with treated(loaded.model, loaded.anatomy, Deactivation.of({UnitKind.LAYER: [(0,)]})):
        task.correct(loaded, examples[-1:])
    if layers > 1 and not _close(logits(layers - 1), expected):
        raise ChainBroken("the last layer alone gives other logits than a full pass")
    inputs = states.stored_inputs((0,))
    for layer in range(layers - 2, 0, -1):
        if not _close(_layer_output(loaded, layer, partial(states.run, loaded, (0,), layer, work)), inputs[layer + 1]):
            raise ChainBroken(f"layer {layer} alone gives another output than in a full pass")


def _layer_output(loaded: LoadedModel, layer: int, work: Work) -> Tensor:
    """Return the output of a layer in ``work()``, which ends there: later layers are not computed."""
    outputs: list[Tensor] = []

    def stop(_: nn.Module, __: Any, output: Tensor) -> None:
        outputs.append(output.cpu())
        raise _StopForward

    handle = loaded.model.get_submodule(loaded.anatomy.layers[layer].block).register_forward_hook(stop)
    try:
        work()
    except _StopForward:
        pass
    finally:
        handle.remove()
    return outputs[0]


def _close(value: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors agree up to rounding, relative to the median, since a few values may be huge."""
    typical = float(expected.float().abs().median())
    return torch.allclose(value.float(), expected.float(), rtol=TOLERANCE, atol=TOLERANCE * typical)


@contextmanager
def logits_of(loaded: LoadedModel) -> Iterator[list[Tensor]]:
    """Collect the logits of every forward pass while the block runs."""
    logits: list[Tensor] = []
    handle = loaded.model.register_forward_hook(lambda _, __, output: logits.append(output.logits.detach().float()))
    try:
        yield logits
    finally:
        handle.remove()
