"""Forward passes that differ from the previous one only from some layer on, and compute only those layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.interventions.forwards import Forward, replaced_forward


class SuffixCache:
    """Cache of every block's output in the previous pass; see :func:`suffix_reuse`.

    start: first layer that the next passes compute; earlier layers return their cached output.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.start = 0
        self._outputs: dict[int, Any] = {}

    def wrap(self, layer: int, forward: Forward) -> Forward:
        """Return a forward for a block that computes or returns its cached output."""

        def cached_or_computed(*args: Any, **kwargs: Any) -> Any:
            if layer < self.start:
                return self._outputs[layer]
            self._outputs[layer] = forward(*args, **kwargs)
            return self._outputs[layer]

        return cached_or_computed


@contextmanager
def suffix_reuse(model: nn.Module, anatomy: Anatomy) -> Iterator[SuffixCache]:
    """Make passes over the *same inputs* compute only the layers from ``suffix.start`` on, while the block runs.

    The blocks of the model must be a chain: each reads the output of the one before. The first pass must have start 0.
    Gates below ``start`` must be those of the previous pass. Everything is restored afterwards, also after an
    exception.
    """
    suffix = SuffixCache(anatomy.shapes.layers)
    with around_blocks(model, anatomy, suffix.wrap):
        yield suffix


@contextmanager
def around_blocks(model: nn.Module, anatomy: Anatomy, wrap: Callable[[int, Forward], Forward]) -> Iterator[None]:
    """Make layer l's block run ``wrap(l, its forward)`` while the block runs; restore everything afterwards."""
    with ExitStack() as stack:
        for number, layer in enumerate(anatomy.layers):
            stack.enter_context(replaced_forward(model.get_submodule(layer.block), partial(wrap, number)))
        yield
