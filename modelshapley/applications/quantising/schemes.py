"""How a model can be quantised: names, what they mean, and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import nn

from modelshapley.contracts.applications.quantising import SCHEMES, Scheme
from modelshapley.errors import ModelShapleyError, UnknownName, UnsupportedModel

GROUPS = (128, 64, 32, 16)
"""Weights that share a scale in the 4-bit schemes: the first of these that divides the width of every linear map."""


def scheme_named(name: str) -> Scheme:
    """Return a scheme.

    Raises UnknownName, and ModelShapleyError without the extra or the GPU that it needs.
    """
    scheme = SCHEMES.get(name)
    if scheme is None:
        raise UnknownName("scheme", name, list(SCHEMES))
    if find_spec("llmcompressor") is None:
        raise ModelShapleyError("Quantising needs llm-compressor: pip install 'modelshapley[compress]'.")
    if scheme.needs_cuda and not torch.cuda.is_available():
        raise ModelShapleyError(f"Scheme {name!r} needs a GPU, and there is none here; use gptq-w8a8 or gptq-w4.")
    return scheme


def quantised_maps(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear maps that are quantised, by path: all but the one that gives the logits."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return {path: part for path, part in model.named_modules() if isinstance(part, nn.Linear) and part is not head}


def group_of(model_id: str, widths: Sequence[int]) -> int:
    """Return the size of a group for linear maps of these input widths. Raises UnsupportedModel if none fits."""
    for group in GROUPS:
        if widths and all(width % group == 0 for width in widths):
            return group
    odd = next((width for width in widths if width % GROUPS[-1]), 0)
    raise UnsupportedModel(
        f"{model_id!r} cannot be quantised to 4 bits: "
        + (f"the width {odd} of a linear map is no multiple of {GROUPS[-1]}." if odd else "it has no linear maps.")
    )
