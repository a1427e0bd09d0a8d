"""Examples as tokens, made once for each model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from modelshapley.models.loading import LoadedModel

E = TypeVar("E", bound=Hashable)
T = TypeVar("T")
MODELS = 3


class Encoded(Generic[E, T]):
    """Remembers what `make` gives for an example and a model, for the models used last.

    A task has one of its own, so that what is kept is of one fingerprint.
    """

    def __init__(self, make: Callable[[LoadedModel, E], T]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple[str, str], dict[E, T]] = OrderedDict()

    def of(self, loaded: LoadedModel, example: E) -> T:
        """Raises what `make` raises."""
        model = (loaded.id, loaded.revision)
        kept = self._kept.setdefault(model, {})
        self._kept.move_to_end(model)
        while len(self._kept) > MODELS:
            self._kept.popitem(last=False)
        if example not in kept:
            kept[example] = self._make(loaded, example)
        return kept[example]
