"""How a model can be quantised: names, what they mean, and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import nn

from modelshapley.errors import ModelShapleyError, UnknownName, UnsupportedModel

GROUPS = (128, 64, 32, 16)
"""Weights that share a scale in the 4-bit schemes: the first of these that divides the width of every linear map."""


@dataclass(frozen=True)
class Scheme:
    """A way to quantise. needs_cuda: whether its numbers are only computed on a GPU."""

    name: str
    summary: str
    needs_cuda: bool = False


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("rtn-w4", "weights of 4 bits, each rounded to the nearest value of its group's scale"),
        Scheme("gptq-w4", "weights of 4 bits, rounded one after the other, the rest correcting what that does (GPTQ)"),
        Scheme("gptq-w8a8", "weights (GPTQ) and activations of 8 bits, one scale a token"),
        Scheme("fp8", "weights and activations in floating point of 8 bits", needs_cuda=True),
        Scheme(
            "paper-algorithm-1",
            "4 bits by the paper's Algorithm 1 as printed: GPTQ with a mixed diagonal. For comparison only",
        ),
        Scheme(
            "paper-released",
            "4 bits as the paper's released code does it, without the Hessian's other entries. For comparison only",
        ),
    )
}


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
