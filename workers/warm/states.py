"""Hidden states that a worker keeps, so that a trial starts at its first touched layer."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from modelshapley.contracts import WarmProbes
from modelshapley.evaluation.hidden_states import HiddenStateCache, refusal
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task

Key = tuple[str, str, str, int]


class WarmStates:
    """Hidden states for each model, task and seed, within `budget` bytes; the most recently used stay.

    They belong to a model's revision and a task's fingerprint, so that changed files or examples never match.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._caches: OrderedDict[Key, HiddenStateCache] = OrderedDict()
        self._tasks: dict[Key, str] = {}

    def snapshot(self) -> list[WarmProbes]:
        """Describe the current state; the most recently used comes last."""
        return [
            WarmProbes(model=key[0], task=self._tasks[key], seed=key[3], bytes=states.bytes, refused=states.refused)
            for key, states in self._caches.items()
        ]

    def of(self, loaded: LoadedModel, task: Task[Any], seed: int) -> HiddenStateCache:
        """Return the hidden states of a task's test examples; the first call tests whether the model allows them."""
        key = (loaded.id, loaded.revision, task.fingerprint(seed), seed)
        if key not in self._caches:
            examples = task.select(loaded, Split.TEST, seed)
            refused = refusal(loaded, task, examples) if self.budget else "MODELSHAPLEY_TRIAL_MEMORY_BYTES is 0"
            self._caches[key] = HiddenStateCache(len(examples), self.budget, refused, partial(self._make_room, key))
            self._tasks[key] = task.info.id
        self._caches.move_to_end(key)
        return self._caches[key]

    def forget(self, model_id: str) -> None:
        """Remove the states of a model."""
        for key in [key for key in self._caches if key[0] == model_id]:
            del self._caches[key], self._tasks[key]

    def _make_room(self, key: Key, needed: int) -> None:
        """Clear other states, least recently used first, until `needed` more bytes fit."""
        for other, states in self._caches.items():
            if sum(known.reserved for known in self._caches.values()) + needed <= self.budget:
                return
            if other != key:
                states.clear()
