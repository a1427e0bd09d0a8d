"""LoRA of about as many parameters, a control of targeted fine-tuning; by peft, an extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from modelshapley.applications.finetuning.parts import Part
from modelshapley.extras import is_installed, missing

RATE = 10 / 3
"""Learning rate of LoRA, as a multiple of that of the units: its first factor starts at zero."""


def available() -> bool:
    """Return whether peft is installed."""
    return is_installed("peft")


def require() -> None:
    """Raise ModelShapleyError unless peft is installed."""
    if not available():
        raise missing("LoRA adapters need", "finetune", "peft")


def rank_for(model: nn.Module, paths: Sequence[str], parameters: int) -> int:
    """Return the rank, at least 1, at which LoRA on these linear maps has nearest to `parameters` parameters."""
    width = sum(sum(model.get_parameter(f"{path}.weight").shape) for path in paths)
    return max(1, round(parameters / width))


@contextmanager
def lora(model: nn.Module, parts: Sequence[Part], parameters: int, seed: int) -> Iterator[dict[str, nn.Parameter]]:
    """Give the linear maps of `parts` LoRA factors with nearly `parameters` parameters while the block runs.

    Yields the factors by name; the model is as it was afterwards. Needs peft: see :func:`require`.
    """
    import peft

    paths = sorted({part.path for part in parts})
    rank = rank_for(model, paths, parameters)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=paths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuner = peft.LoraModel(model, config, "control")
    try:
        yield {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    finally:
        tuner.unload()
        model.requires_grad_(False)
