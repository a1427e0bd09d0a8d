"""When memory runs out: fewer examples at a time, then recomputed activations, and only then an error."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import Cache

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.errors import OutOfMemory
from modelshapley.interventions.forwards import Forward, replaced_forward

if TYPE_CHECKING:
    from modelshapley.models.loaded import LoadedModel

log = logging.getLogger(__name__)
# Parts of the messages of plain RuntimeErrors that mean a lack of memory: torch on the CPU, CUDA, cuBLAS, Metal.
SHORTAGES = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)
Result = TypeVar("Result")


def ran_out_of_memory(error: BaseException) -> bool:
    """Return whether this error is a lack of memory, as CUDA, Python or torch's allocators raise it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in SHORTAGES)
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@dataclass
class AdaptiveBatcher:
    """Batches as large as fit the memory of a model's devices, learnt by trying; see :meth:`run`.

    examples: current number of examples in a batch. recompute: whether blocks drop their activations and compute them
    again on the backward pass. backward: whether the work has a backward pass, so that recomputing can help.
    """

    loaded: LoadedModel
    examples: int
    backward: bool = True
    recompute: bool = False

    def run(self, work: Callable[[int], Result], left: int) -> tuple[int, Result]:
        """Return (n, ``work(n)``) for the next n examples, at most `left`, where n is as large as fits.

        When memory runs out, copies of stored states on the devices go first. Then `work` is called with half as many
        examples, and for one example with recomputing; later calls start with what fitted. So `work` must not change
        anything until it has everything it needs.
        Raises OutOfMemory if one example does not fit; other errors propagate.
        """
        while True:
            count = min(self.examples, left)
            blocks = recompute_activations(self.loaded.model, self.loaded.anatomy) if self.recompute else nullcontext()
            try:
                with blocks:
                    return count, work(count)
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                reason = first_line(error)
            # Outside the handler, because there the traceback would still hold the tensors of its frames.
            had_copies = self.loaded.device_tier.clear()
            gc.collect()
            torch.cuda.empty_cache()
            if not had_copies:
                self._shrink(count, reason)

    def chunks(
        self,
        work: Callable[[int, int], Result],
        total: int,
        done: int = 0,
        limit: Callable[[int, int], int] = lambda start, left: left,
    ) -> Iterator[tuple[int, int, Result]]:
        """Run ``work(start, count)`` over `total` examples, and yield (start, count, its result) chunk by chunk.

        done: number of examples to skip at the start. limit: largest size of the chunk at `start`, of which `left`
        examples remain. Raises OutOfMemory, as :meth:`run` does.
        """
        while done < total:
            count, result = self.run(partial(work, done), limit(done, total - done))
            yield done, count, result
            done += count

    def _shrink(self, count: int, reason: str) -> None:
        if count > 1:
            self.examples = count // 2
            log.warning("%d examples do not fit, trying %d: %s", count, self.examples, reason)
        elif self.backward and not self.recompute:
            self.recompute = True
            log.warning("one example does not fit, recomputing activations: %s", reason)
        else:
            raise OutOfMemory.of(f"One example on {self.loaded.id!r}", self.loaded.places, self.loaded.dtype, reason)


@contextmanager
def recompute_activations(model: nn.Module, anatomy: Anatomy) -> Iterator[None]:
    """Keep only the input of each block on a forward pass, and compute the rest again on the backward pass.

    It is for frozen models in evaluation mode, where transformers' own switch does nothing. Hooks inside a block run
    twice; what they put into the graph gets its gradient once. Everything is restored afterwards.
    """
    with ExitStack() as stack:
        for layer in anatomy.layers:
            stack.enter_context(replaced_forward(model.get_submodule(layer.block), _with_checkpoint))
        yield


def _with_checkpoint(forward: Forward) -> Forward:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        # A cache of keys and values would grow a second time when a block is computed again.
        kwargs_without_cache: Mapping[str, Any] = {name: _without_cache(value) for name, value in kwargs.items()}
        forward_without_cache = partial(forward, **kwargs_without_cache)
        return checkpoint(
            forward_without_cache, *map(_without_cache, args), use_reentrant=False, preserve_rng_state=False
        )

    return run


def _without_cache(value: Any) -> Any:
    return None if isinstance(value, Cache) else value
