"""Hidden states of a task's examples between layers, so that a trial computes nothing before its first layer."""

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
from modelshapley.interventions.block_replay import Broken, CachedPass, ReplayPass
from modelshapley.interventions.gates import treated
from modelshapley.interventions.suffix import around_blocks
from modelshapley.models.loading import LoadedModel
from modelshapley.models.memory import first_line
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation, UnitKind

log = logging.getLogger(__name__)
Work = Callable[[], Tensor]
Places = tuple[int, ...]
# How a model may fail where what it reads is not there. What is wrong with the model itself, or with the memory,
# shows again where everything is computed, and is told there.
SEEN_TO_FAIL = (Broken, RuntimeError, MemoryError, ValueError, TypeError, LookupError, AttributeError)
AGREE = 1e-4  # of a number, or of the median of them


class _Enough(Exception):
    """Ends a pass in the middle."""


class HiddenStateCache:
    """What the layers of one model handed on in the passes of one task's examples, within `budget` bytes.

    examples: how many the task has; each pass gets its share of what is left. make_room: told how many bytes are
    about to be kept, before they are. refused: why every trial computes every layer; None where it need not.
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
        self._passes: dict[Places, CachedPass] = {}
        self._chunks: dict[int, int] = {}
        self._used: list[Places] = []

    @property
    def reserved(self) -> int:
        """Bytes that the states take or may still take."""
        return sum(kept.reserved for kept in self._passes.values())

    @property
    def bytes(self) -> int:
        """Bytes that the states take now."""
        return sum(state.nbytes for kept in self._passes.values() for state, _ in kept.states.values())

    def clear(self) -> None:
        """Forget all states; they are kept anew from the passes to come."""
        self._passes.clear()
        self._chunks.clear()

    def kept(self, places: Places) -> dict[int, Tensor]:
        """{layer: its input} of one pass, as far as it is kept."""
        return {layer: state for layer, (state, _) in self._passes[places].states.items()}

    # -- chunks: passes are known by their examples, so that chunks must be those of before --------

    def chunk(self, start: int, most: int) -> int:
        """How many examples the chunk at `start` should have: as many as before, else `most`."""
        return min(self._chunks.get(start, most), most)

    def begin(self) -> None:
        """A chunk is about to be measured, perhaps after one that did not fit the memory."""
        self._used = []

    def settle(self, start: int, count: int) -> None:
        """The chunk of `count` examples at `start` is measured: passes of other chunks over them are forgotten."""
        self._chunks[start] = count
        for places in [p for p in self._passes if p not in self._used and start <= p[0] and p[0] < start + count]:
            del self._passes[places]

    # -- passes ------------------------------------------------------------------------------------

    def run(self, loaded: LoadedModel, places: Places, first: int, work: Work) -> Tensor:
        """``work()``, one forward pass over the examples at `places`, where layers below `first` are intact.

        Only layers from the nearest kept boundary on are computed. Where blocks turn out to be no chain, all of
        them are, now and from now on. Errors of `work` come through; nothing is left on the model.
        """
        if self.refused is None:
            try:
                return self._followed(loaded, places, first, work)
            except Broken as error:
                self.refuse(str(error))
        return work()

    def refuse(self, why: str) -> None:
        log.warning("every layer is computed for every trial: %s", why)
        self.refused = why
        self.clear()

    def _followed(self, loaded: LoadedModel, places: Places, first: int, work: Work) -> Tensor:
        self._used.append(places)
        kept, layers = self._passes.get(places, CachedPass()), loaded.anatomy.shapes.layers
        follower = ReplayPass(layers, kept, first, partial(self._plan, layers, places))
        with around_blocks(loaded.model, loaded.anatomy, follower.wrap):
            found = work()
        follower.finish()
        if kept.every:
            self._passes[places] = kept
        return found

    def _plan(self, layers: int, places: Places, kept: CachedPass, size: int) -> None:
        """Which boundaries of `size` bytes a pass may keep, of its share of the bytes that are left."""
        waiting = self._examples - sum(len(known) for known in self._passes)
        share = max(self._budget - self.reserved, 0) * len(places) // max(waiting, len(places))
        kept.every = -(-layers // (share // size + 1))
        kept.reserved = (-(-layers // kept.every) - 1) * size
        self._make_room(kept.reserved)


# -- whether it may be done at all -----------------------------------------------------------------


def refusal(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> str | None:
    """Why a trial of this model on this task must compute every layer; None where it need not.

    The task must say that its answers take one pass; the blocks are seen to be a chain: each alone, given its kept
    input, hands on what it did in a full pass, though another pass with a layer off was in between, and so for the
    logits. One example is enough; it takes as long as about three of its passes.
    """
    if not task.single_pass:
        return f"answers of task {task.info.id!r} may take several forward passes"
    outside = next(_outside(loaded.anatomy), None)
    if outside:
        return f"{outside} lies outside its layer"
    try:
        with torch.inference_mode():
            _prove(loaded, task, examples)
    except SEEN_TO_FAIL as error:
        return first_line(error)
    return None


def _outside(anatomy: Anatomy) -> Iterator[str]:
    for number, layer in enumerate(anatomy.layers):
        for kind in UnitKind:
            for site in anatomy.sites(kind, number):
                if not site.path.startswith(f"{layer.block}."):
                    yield site.path


def _prove(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> None:
    """Raise Broken, or what a model raises that misses something, where the blocks are no chain."""
    layers, states = loaded.anatomy.shapes.layers, HiddenStateCache(1, sys.maxsize)
    work = partial(task.correct, loaded, examples[:1])

    def logits(first: int) -> Tensor:
        with logits_of(loaded) as found:
            states.run(loaded, (0,), first, work)
        if states.refused is not None or len(found) != 1:
            raise Broken(states.refused or "an answer takes several forward passes")
        return found[0]

    wanted = logits(layers)
    # What modules remember by themselves, beside what they hand on, is another pass's from here on. From the last
    # layer to the first, so that it still is for all layers below the one that is looked at.
    with treated(loaded.model, loaded.anatomy, Deactivation.of({UnitKind.LAYER: [(0,)]})):
        task.correct(loaded, examples[-1:])
    if layers > 1 and not _agree(logits(layers - 1), wanted):
        raise Broken("the last layer alone gives other logits than a full pass")
    kept = states.kept((0,))
    for layer in range(layers - 2, 0, -1):
        if not _agree(_handed(loaded, layer, partial(states.run, loaded, (0,), layer, work)), kept[layer + 1]):
            raise Broken(f"layer {layer} alone hands on something else than in a full pass")


def _handed(loaded: LoadedModel, layer: int, work: Work) -> Tensor:
    """What a layer hands on in ``work()``, which ends there: the layers behind it are not computed."""
    handed: list[Tensor] = []

    def stop(_: nn.Module, __: Any, output: Tensor) -> None:
        handed.append(output.cpu())
        raise _Enough

    handle = loaded.model.get_submodule(loaded.anatomy.layers[layer].block).register_forward_hook(stop)
    try:
        work()
    except _Enough:
        pass
    finally:
        handle.remove()
    return handed[0]


def _agree(found: Tensor, wanted: Tensor) -> bool:
    """Equal but for roundings; beside the median, since a few numbers of a hidden state may be huge."""
    typical = float(wanted.float().abs().median())
    return torch.allclose(found.float(), wanted.float(), rtol=AGREE, atol=AGREE * typical)


@contextmanager
def logits_of(loaded: LoadedModel) -> Iterator[list[Tensor]]:
    """The logits of every forward pass while the block runs."""
    found: list[Tensor] = []
    handle = loaded.model.register_forward_hook(lambda _, __, output: found.append(output.logits.detach().float()))
    try:
        yield found
    finally:
        handle.remove()
