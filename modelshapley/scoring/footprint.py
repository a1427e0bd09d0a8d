"""Estimate of the memory that scoring a model takes, from its config. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.contracts import Dtype
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.units import UnitKind

BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
WIDTHS = ("hidden_size", "n_embd", "d_model", "dim", "embed_dim")
IMAGES, TOKENS, ENDINGS = 32, 2048, 32  # largest pass (tasks.base): images, tokens, and answers that count


def activation_bytes(config: Mapping[str, Any], anatomy: Anatomy, task: TaskInfo, dtype: Dtype = "float32") -> int:
    """Estimate the bytes besides the weights while a full batch is scored.

    Frozen weights need no inputs of linear maps, so a layer stores only what its norms, its attention and its MLP's
    non-linearity need for the backward pass: about 8 times the width and 4 times the MLP's, for every token. For the
    model of benchmarks/scoring this gives 436 MB, where 463 MB were measured. The logits of the tokens that count,
    their logarithms and gradients are added, as float32. Attention matrices are not counted, because fused attention
    does not store them. A batch that does not fit is halved, so this is what scoring prefers, not what it needs.
    """
    text = config.get("text_config", config)
    width = next((int(text[name]) for name in WIDTHS if isinstance(text.get(name), int)), 0)
    shapes = anatomy.shapes.as_dict()
    neurons = shapes.get(UnitKind.NEURON, [0, 4 * width])[1]
    tokens = _tokens(config, anatomy)
    layer_bytes = tokens * anatomy.shapes.layers * (8 * width + 4 * neurons) * BYTES[dtype]
    scored_tokens = tokens if task.kind == "language-modelling" else ENDINGS
    return layer_bytes + 3 * scored_tokens * int(text.get("vocab_size") or 0) * 4


def _tokens(config: Mapping[str, Any], anatomy: Anatomy) -> int:
    if anatomy.modality == "text":
        return TOKENS
    image, patch = _side(config.get("image_size", 224)), _side(config.get("patch_size", 16))
    return IMAGES * ((image // max(patch, 1)) ** 2 + 1)


def _side(size: Any) -> int:
    """Return the side of a square from a config: a number, or two of them."""
    return int(size[0] if isinstance(size, list | tuple) else size)
