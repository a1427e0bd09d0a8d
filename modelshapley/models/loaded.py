"""A live model with what its tasks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.contracts import Dtype
from modelshapley.interventions.stored_states import DeviceTier
from modelshapley.models.shortcuts import Shortcuts


@dataclass(frozen=True)
class LoadedModel:
    """A live model with what its tasks need.

    tokenizer: None for image models. processor: prepares pictures; None if the folder has none. device: device of
    inputs and logits; blocks may be on others. unused: tensors of the folder that this use of the model leaves out,
    such as another head. shortcuts: faster ways that were compared with plain passes of this model; others are not
    taken. stored_dtype: dtype of the weights in the folder; '' where the config does not say. device_tier: copies of
    stored hidden states on its devices; they give way when memory runs out.
    """

    id: str
    revision: str
    anatomy: Anatomy
    model: nn.Module
    tokenizer: Any | None
    device: torch.device
    processor: Any | None = None
    unused: tuple[str, ...] = ()
    shortcuts: Shortcuts = field(default_factory=Shortcuts)
    stored_dtype: str = ""
    device_tier: DeviceTier = field(default_factory=DeviceTier, compare=False, repr=False)

    @property
    def notes(self) -> list[str]:
        """What a user of this model should know, one sentence each."""
        notes = self.shortcuts.notes()
        if self.unused:
            some = ", ".join(self.unused[:3]) + (", ..." if len(self.unused) > 3 else "")
            notes.append(f"{len(self.unused)} tensors of the weights are not used by this model: {some}.")
        return notes

    def batch_size(self, most: int, sizes: Sequence[int]) -> int:
        """Return how many examples of these sizes may share a pass: `most`, or 1 where it has not been proven that they
        do not touch each other.
        """
        equal = len(set(sizes)) <= 1 and self.anatomy.modality == "text"
        return most if equal or self.shortcuts.batching.covers(max(sizes, default=0)) else 1

    @property
    def dtype(self) -> Dtype:
        """Dtype of the weights, and so of the activations."""
        name: Dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")  # type: ignore[assignment]
        return name

    @property
    def places(self) -> str:
        """Names of the devices that hold weights, in order: 'cuda:0, cuda:1'."""
        return ", ".join(dict.fromkeys(str(parameter.device) for parameter in self.model.parameters()))
