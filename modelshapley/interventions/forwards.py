"""Put another function in the place of a module's forward, and always put back what was there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Forward = Callable[..., Any]


@contextmanager
def replaced_forward(module: nn.Module, wrap: Callable[[Forward], Forward]) -> Iterator[None]:
    """While the block runs, calling `module` runs ``wrap(its forward)`` between its hooks.

    What is put back is what stood there: the class's own method, or the function that accelerate keeps in its
    place where a model lies on several devices.
    """
    own = vars(module).get("forward")
    module.forward = wrap(module.forward)
    try:
        yield
    finally:
        if own is None:
            vars(module).pop("forward", None)  # it hid the class's method
        else:
            module.forward = own
