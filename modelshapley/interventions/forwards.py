"""Replace a module's forward by another function, and always restore it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Forward = Callable[..., Any]


@contextmanager
def replaced_forward(module: nn.Module, wrap: Callable[[Forward], Forward]) -> Iterator[None]:
    """Make calls of `module` run ``wrap(its forward)`` between its hooks while the block runs.

    Afterwards the previous forward is restored: the class's own method, or the function that accelerate installs
    instead where a model spans several devices.
    """
    own = vars(module).get("forward")
    module.forward = wrap(module.forward)
    try:
        yield
    finally:
        if own is None:
            vars(module).pop("forward", None)  # an instance attribute would keep hiding the class's method
        else:
            module.forward = own
