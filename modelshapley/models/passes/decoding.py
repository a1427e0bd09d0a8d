"""Attention for one new token a text, without copying keys and values for each query head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "modelshapley_decoding"


@contextmanager
def quick_attention(model: Any) -> Iterator[None]:
    """Use :func:`attend` instead of torch's attention while the block runs; other implementations stay as they are."""
    if model.config._attn_implementation != "sdpa":
        yield
        return
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention as transformers' `sdpa` does, but faster for one new token.

    For one new token, the query heads that share a key head are treated as tokens of that head: the same sums, while
    transformers would first repeat keys and values for every query head.
    query: (texts, heads, new tokens, width); key, value: (texts, key heads, all tokens, width); returns (texts,
    new tokens, heads, width).
    """
    texts, heads, new, width = query.shape
    shared = heads // key.shape[1]
    one_mask = attention_mask is None or attention_mask.shape[1:3] == (1, 1)
    if new > 1 or shared == 1 or not one_mask or kwargs.get("position_bias") is not None:
        default: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return default
    folded = query.reshape(texts, key.shape[1], shared, width)
    output = scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
    )
    return output.reshape(texts, 1, heads, value.shape[-1]), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
