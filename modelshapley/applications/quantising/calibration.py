"""What a model is calibrated with: the token sequences of a task's probe examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from modelshapley.errors import ModelShapleyError
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.shortcuts import Shortcuts
from modelshapley.tasks.base import Task

MIN_SEQUENCES = 16
NEAREST = "rtn-w4"  # needs no calibration


def require_tokens(sequences: Sequence[Tensor], widest: int) -> None:
    """Raise ModelShapleyError for fewer tokens than inputs of the widest linear map.

    Its Hessian then has no full rank, and GPTQ fits the calibration set alone: on SmolLM2, 600 tokens made it worse
    than rounding to the nearest value.
    """
    tokens = sum(map(len, sequences))
    if tokens < widest:
        raise ModelShapleyError(
            f"The calibration set has {tokens:,} tokens, fewer than the {widest:,} inputs of the widest linear map, so "
            f"that GPTQ would fit these and nothing else; use a larger limit, a task with more text, or {NEAREST}."
        )


def calibration_sequences(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> list[Tensor]:
    """Return the sequences that the task's loss reads for these examples, each a vector of token ids.

    For a question with choices that is the right one with its prompt. Raises ModelShapleyError for fewer than
    MIN_SEQUENCES.
    """
    plain = replace(loaded, shortcuts=Shortcuts())  # nothing is merged: each sequence as the model would read it
    sequences: list[Tensor] = []

    def record(_: nn.Module, __: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        ids = inputs["input_ids"]
        mask = inputs.get("attention_mask")
        kept = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        sequences.extend(row[on].cpu() for row, on in zip(ids, kept, strict=True))

    hook = loaded.model.register_forward_pre_hook(record, with_kwargs=True)
    try:
        with torch.inference_mode():
            for example in examples:
                task.losses(plain, [example])
    finally:
        hook.remove()
    if len(sequences) < MIN_SEQUENCES:
        raise ModelShapleyError(
            f"The {len(examples)} probe examples of task {task.info.id!r} give {len(sequences)} sequences, and "
            f"calibration needs at least {MIN_SEQUENCES}; use a larger limit, or a task with more examples."
        )
    return [sequence.clone() for sequence in sequences]
