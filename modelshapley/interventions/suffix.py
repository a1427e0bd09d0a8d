"""Forward passes that differ from the one before only from some layer on compute only those layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.interventions.forwards import Forward, replaced_forward


class Suffix:
    """Keeps what every block handed on in the pass before; see :func:`suffix_reuse`.

    start: the first layer that the next passes compute; the layers before answer from memory.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.start = 0
        self._kept: dict[int, Any] = {}

    def wrap(self, layer: int, forward: Forward) -> Forward:
        def from_memory_or_computed(*args: Any, **kwargs: Any) -> Any:
            if layer < self.start:
                return self._kept[layer]
            self._kept[layer] = forward(*args, **kwargs)
            return self._kept[layer]

        return from_memory_or_computed


@contextmanager
def suffix_reuse(model: nn.Module, anatomy: Anatomy) -> Iterator[Suffix]:
    """While the block runs, passes over the *same inputs* compute only the layers from ``suffix.start`` on.

    The blocks of the model must be a chain: each reads what the one before handed on. The first pass must have
    start 0. Gates below ``start`` must be those of the pass before. Everything is put back afterwards, also
    after an exception.
    """
    suffix = Suffix(anatomy.shapes.layers)
    with around_blocks(model, anatomy, suffix.wrap):
        yield suffix


@contextmanager
def around_blocks(model: nn.Module, anatomy: Anatomy, wrap: Callable[[int, Forward], Forward]) -> Iterator[None]:
    """While the block runs, layer l's block runs ``wrap(l, its forward)``; everything is put back afterwards."""
    with ExitStack() as stack:
        for number, layer in enumerate(anatomy.layers):
            stack.enter_context(replaced_forward(model.get_submodule(layer.block), partial(wrap, number)))
        yield
