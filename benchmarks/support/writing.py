"""Two answers to one prompt, intact and with units off: written by this library, and by transformers' `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modelshapley.contracts.prompts import PromptSettings
from modelshapley.interventions.gates import changes_of
from modelshapley.interventions.weights import scaled_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.prompts.writing import Writing
from modelshapley.units import Deactivation


def generated(loaded: LoadedModel, prompt: Sequence[int], tokens: int) -> list[int]:
    """Return what `generate` writes, the end of text included."""
    model: Any = loaded.model
    ids = torch.tensor([list(prompt)], device=loaded.device)
    written: list[int] = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
    )[0, len(prompt) :].tolist()
    return written


def written(loaded: LoadedModel, prompt: Sequence[int], tokens: int, off: Deactivation) -> list[list[int]]:
    """Return both columns, written in turns."""
    writing = Writing(loaded, prompt, tokens, PromptSettings(), changes_of(loaded.anatomy, off))
    for _ in writing.steps():
        pass
    assert writing.changed is not None
    return [[token.id for token in column.tokens] for column in (writing.intact, writing.changed)]


def both_generated(loaded: LoadedModel, prompt: Sequence[int], tokens: int, off: Deactivation) -> list[list[int]]:
    """Return the same texts by two calls of `generate`, one with scaled weights."""
    intact = generated(loaded, prompt, tokens)
    with scaled_weights(loaded.model, loaded.anatomy, off):
        return [intact, generated(loaded, prompt, tokens)]
