"""Trained sub-matrices as a LoRA adapter in the format of peft: the parent's files, and a small folder beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from modelshapley.applications.finetuning.submatrix import SubMatrix, Trained
from modelshapley.errors import UnsupportedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


def require_expressible(parts: Sequence[Trained]) -> None:
    """Raise UnsupportedModel if a LoRA adapter cannot hold what trains: a bias, or a map that is no nn.Linear."""
    for part in parts:
        if not isinstance(part, SubMatrix):
            raise UnsupportedModel(
                f"{part.part.path} holds experts in stacked weights, which a LoRA adapter cannot hold; save the whole "
                "model instead."
            )
        if part.bias is not None:
            raise UnsupportedModel(
                f"{part.part.path} has a bias, which trains with its units and which a LoRA adapter cannot hold; save "
                "the whole model instead."
            )
        if not isinstance(part.module, nn.Linear):
            raise UnsupportedModel(
                f"{part.part.path} is a {type(part.module).__name__}, not an nn.Linear; save the whole model instead."
            )


def save_adapter(folder: Path, parts: Sequence[SubMatrix], before: Mapping[str, Tensor], parent: str) -> None:
    """Write the changes of trained sub-matrices as an adapter that `peft.PeftModel.from_pretrained` loads.

    The change of rows is B A with one-hot columns in B (outputs x rank) and the changed rows as A (rank x inputs); that
    of columns the reverse. The rank of each map is its number of trained rows or columns, and alpha is the rank, so
    that nothing is scaled. before: the weight of each path before training. parent: what the adapter belongs to.
    """
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for part in parts:
        path, rank = part.part.path, len(part.part.index)
        ranks[path] = rank
        a, b = _factors(part, before[path])
        tensors |= {f"{PREFIX}{path}.lora_A.weight": a, f"{PREFIX}{path}.lora_B.weight": b}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(_config(ranks, parent), indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def _factors(part: SubMatrix, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (rank x inputs) and B (outputs x rank), whose product B A is the change of the weight."""
    outputs, inputs = before.shape
    index = torch.tensor(part.part.index)
    change = part.weight.detach().float().cpu() - before.float().cpu().index_select(part.dimension, index)
    if part.part.side == "rows":
        return change.contiguous(), _one_hot(outputs, index)
    return _one_hot(inputs, index).T.contiguous(), change.contiguous()


def _one_hot(size: int, index: Tensor) -> Tensor:
    chosen = torch.zeros(size, len(index))
    chosen[index, torch.arange(len(index))] = 1
    return chosen


def _config(ranks: Mapping[str, int], parent: str) -> dict[str, Any]:
    most = max(ranks.values())
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": parent,
        "inference_mode": True,
        "r": most,
        "lora_alpha": most,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted(ranks),
        "rank_pattern": dict(ranks),
        "alpha_pattern": dict(ranks),
    }
