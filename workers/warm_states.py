"""What a worker keeps of forward passes, so that a trial starts at its first touched layer."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from modelshapley.contracts import WarmProbes
from modelshapley.evaluation.hidden_states import HiddenStateCache, refusal
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.base import Split, Task

Key = tuple[str, str, str, int]


class WarmStates:
    """Hidden states for each model, task and seed, in `budget` bytes together; those used last stay.

    Kept for a model's revision and a task's fingerprint, so that changed files or examples find nothing.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._known: OrderedDict[Key, HiddenStateCache] = OrderedDict()
        self._tasks: dict[Key, str] = {}

    def snapshot(self) -> list[WarmProbes]:
        """What is kept now, for people; the one used last at the end."""
        return [
            WarmProbes(model=key[0], task=self._tasks[key], seed=key[3], bytes=states.bytes, refused=states.refused)
            for key, states in self._known.items()
        ]

    def of(self, loaded: LoadedModel, task: Task[Any], seed: int) -> HiddenStateCache:
        """Those of the task's test examples; whether there can be any is tried out at the first call."""
        key = (loaded.id, loaded.revision, task.fingerprint(seed), seed)
        if key not in self._known:
            examples = task.select(loaded, Split.TEST, seed)
            refused = refusal(loaded, task, examples) if self.budget else "MODELSHAPLEY_TRIAL_MEMORY_BYTES is 0"
            self._known[key] = HiddenStateCache(len(examples), self.budget, refused, partial(self._make_room, key))
            self._tasks[key] = task.info.id
        self._known.move_to_end(key)
        return self._known[key]

    def forget(self, model_id: str) -> None:
        for key in [key for key in self._known if key[0] == model_id]:
            del self._known[key], self._tasks[key]

    def _make_room(self, key: Key, needed: int) -> None:
        """Clear others, those used least recently first, until `needed` more bytes fit."""
        for other, states in self._known.items():
            if sum(known.reserved for known in self._known.values()) + needed <= self.budget:
                return
            if other != key:
                states.clear()
