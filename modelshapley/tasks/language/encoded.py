"""Cache of tokenised examples, computed once for each model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from modelshapley.models.loaded import LoadedModel

E = TypeVar("E", bound=Hashable)
T = TypeVar("T")
MAX_MODELS = 3  # models whose tokens stay in memory


class Encoded(Generic[E, T]):
    """Cache of what `make` returns for an example and a model, for the most recently used models.

    Each task has its own, so that all entries belong to one fingerprint.
    """

    def __init__(self, make: Callable[[LoadedModel, E], T]) -> None:
        self._make = make
        self._cache: OrderedDict[tuple[str, str], dict[E, T]] = OrderedDict()

    def of(self, loaded: LoadedModel, example: E) -> T:
        """Return the cached value, or compute it. Raises what `make` raises."""
        model = (loaded.id, loaded.revision)
        entries = self._cache.setdefault(model, {})
        self._cache.move_to_end(model)
        while len(self._cache) > MAX_MODELS:
            self._cache.popitem(last=False)
        if example not in entries:
            entries[example] = self._make(loaded, example)
        return entries[example]
