"""Texts that grow by one token a pass, with a cache of keys and values where that is proven for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.head import accepts, forget_lengths


class Growing(Protocol):
    """One text or several that grow by one token a pass."""

    def next_logits(self) -> Tensor:
        """Run a pass; return the logits of the token after each text, (texts, vocabulary)."""

    def append(self, tokens: Sequence[int]) -> None:
        """Append one token to each text."""


def growing(loaded: LoadedModel, prompt: Sequence[int], longest: int) -> Growing:
    """Return one text that grows from a prompt to at most `longest` tokens, the fastest way that is proven."""
    if loaded.shortcuts.caching.covers(longest):
        return CachedTexts(loaded, [prompt])
    return PlainText(loaded, prompt)


class PlainText:
    """One text whose every pass computes all its tokens again."""

    def __init__(self, loaded: LoadedModel, prompt: Sequence[int]) -> None:
        self._loaded, self._tokens = loaded, list(prompt)

    def next_logits(self) -> Tensor:
        ids = torch.tensor([self._tokens], device=self._loaded.device)
        forget_lengths(self._loaded.model)
        inputs = {"use_cache": False} if accepts(self._loaded.model, "use_cache") else {}
        logits: Tensor = self._loaded.model(input_ids=ids, **inputs).logits
        return logits[:, -1]

    def append(self, tokens: Sequence[int]) -> None:
        self._tokens += tokens


class CachedTexts:
    """Texts in one pass, padded on the left, with a cache of keys and values."""

    def __init__(self, loaded: LoadedModel, prompts: Sequence[Sequence[int]]) -> None:
        self._loaded, longest = loaded, max(map(len, prompts))
        self._ids, mask = torch.zeros((2, len(prompts), longest), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            self._ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        self._mask = mask.to(loaded.device)
        self._positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        self._cache: Any = None
        self._options: dict[str, Any] = {"logits_to_keep": 1} if accepts(loaded.model, "logits_to_keep") else {}
        self._takes_positions = accepts(loaded.model, "position_ids")

    def next_logits(self) -> Tensor:
        options = self._options | ({"position_ids": self._positions} if self._takes_positions else {})
        output: Any = self._loaded.model(
            input_ids=self._ids.to(self._loaded.device),
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            **options,
        )
        self._cache = output.past_key_values
        logits: Tensor = output.logits
        return logits[:, -1]

    def append(self, tokens: Sequence[int], grows: Sequence[bool] | None = None) -> None:
        """Append one token to each text. grows: False for a finished text, whose further tokens mean nothing."""
        steps = torch.tensor([[int(grow)] for grow in (grows or [True] * len(tokens))])
        self._positions = self._positions[:, -1:] + steps.to(self._positions.device)
        self._ids = torch.tensor([[token] for token in tokens])
        self._mask = torch.cat([self._mask, self._mask.new_ones((len(tokens), 1))], dim=-1)

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these texts, between a pass and :meth:`append`."""
        index = torch.tensor(rows, device=self._loaded.device)
        self._cache.batch_select_indices(index)
        self._mask, self._positions = self._mask[index], self._positions[index]
