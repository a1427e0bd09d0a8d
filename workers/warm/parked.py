"""Answers that wait for their next turn, with their caches of keys and values."""

from __future__ import annotations

from collections import OrderedDict

from modelshapley.models.loaded import LoadedModel
from modelshapley.prompts.writing import Writing

MAX_PARKED = 4  # each holds the keys and values of two texts


class ParkedWritings:
    """The latest few unfinished answers of this worker; others continue from their tokens, which are stored."""

    def __init__(self) -> None:
        self._writings: OrderedDict[str, tuple[LoadedModel, Writing]] = OrderedDict()

    def park(self, prompt_id: str, loaded: LoadedModel, writing: Writing) -> None:
        """Keep an unfinished answer."""
        self._writings[prompt_id] = loaded, writing
        while len(self._writings) > MAX_PARKED:
            self._writings.popitem(last=False)

    def take(self, prompt_id: str, loaded: LoadedModel) -> Writing | None:
        """Return the answer and forget it; None if this worker does not have it on this very model.

        Answers on models that were unloaded since go, too, so that the memory of their models is free.
        """
        for other, (model, _) in list(self._writings.items()):
            if model.id == loaded.id and model is not loaded:
                del self._writings[other]
        return self._writings.pop(prompt_id, (None, None))[1]
