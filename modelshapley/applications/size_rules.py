"""Which sizes of a config can shrink, family by family, and with which keys. Torch-free.

A rule that is a sentence instead says why a family cannot do it; those units are then zeroed in place.
Keys and restrictions are those of transformers 5.17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelshapley.architectures.anatomy import Config

NeuronRule = Callable[[Config, Sequence[int]], dict[str, Any]]
"""(config, neurons needed in each stack of blocks) -> changes of the config that give at least so many."""

HIDDEN_BY_HEADS = (
    "the channels of a head are the hidden size divided by the number of heads, so no head can be left out"
)
NORM_AFTER = (
    "each layer normalises the residual stream after adding to it, so a layer that adds nothing still changes it"
)
NOT_IN_TABLE = "the family is not in the table of architectures, so the keys of its config are unknown"


def _widest(*keys: str) -> NeuronRule:
    """One key for all stacks, or one for each."""

    def rule(_: Config, needed: Sequence[int]) -> dict[str, Any]:
        return {keys[0]: max(needed)} if len(keys) == 1 else dict(zip(keys, needed, strict=True))

    return rule


def _fraction(hidden: Callable[[Config, int], int]) -> NeuronRule:
    """A share of the hidden size, rounded down by the model; hidden: (config, stack) -> its channels."""

    def rule(config: Config, needed: Sequence[int]) -> dict[str, Any]:
        # A hundredth above the whole number, or rounding down could lose one.
        return {"mlp_ratio": max((count + 0.01) / hidden(config, stack) for stack, count in enumerate(needed))}

    return rule


def _dinov2(config: Config, needed: Sequence[int]) -> dict[str, Any]:
    """A whole number of hidden sizes: the config refuses fractions. With gates, the model takes two thirds of it."""
    hidden, gated = int(config["hidden_size"]), bool(config.get("use_swiglu_ffn"))
    width = {ratio: hidden * ratio for ratio in range(1, 64)}
    if gated:
        width = {ratio: (int(size * 2 / 3) + 7) // 8 * 8 for ratio, size in width.items()}
    return {"mlp_ratio": min(ratio for ratio, size in width.items() if size >= max(needed))}


@dataclass(frozen=True)
class SizeRules:
    """How one family's sizes shrink; a sentence is the reason why they cannot.

    heads: keys of the numbers of query heads and, for grouped attention, of key-value heads. layers: key of each
    stack's number of layers. experts: keys of the number of experts, whichever of them the config has.
    """

    neurons: NeuronRule | str
    heads: tuple[str, ...] | str
    layers: tuple[str, ...] | str
    experts: tuple[str, ...] = ()


_GROUPED = ("num_attention_heads", "num_key_value_heads")
_DEPTH = ("num_hidden_layers",)
_EXPERTS = ("num_experts", "num_local_experts")
_DENSE = _widest("intermediate_size")
_DECODER = SizeRules(_DENSE, _GROUPED, _DEPTH)
_ENCODER = SizeRules(_DENSE, HIDDEN_BY_HEADS, NORM_AFTER)
_VIT = SizeRules(_DENSE, ("num_attention_heads",), _DEPTH)
_T5 = SizeRules(
    _widest("d_ff"),
    "all layers share one relative position bias, which has an entry for each head",
    ("num_layers", "num_decoder_layers"),
)
RULES: Mapping[str, SizeRules] = {
    "vit": _VIT,
    "deit": _VIT,
    "dinov2": SizeRules(_dinov2, HIDDEN_BY_HEADS, _DEPTH),
    "swin": SizeRules(
        _fraction(lambda c, stack: int(c["embed_dim"]) * 2**stack),
        HIDDEN_BY_HEADS,
        "windows shift in every second layer of a stage, so the layers behind a missing one would see other windows",
    ),
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "distilbert": SizeRules(_widest("hidden_dim"), HIDDEN_BY_HEADS, NORM_AFTER),
    "gpt2": SizeRules(_widest("n_inner"), HIDDEN_BY_HEADS, ("n_layer",)),
    "gpt_neox": SizeRules(_DENSE, HIDDEN_BY_HEADS, _DEPTH),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3"), _DECODER),
    "t5": _T5,
    "mt5": _T5,
    "bart": SizeRules(_widest("encoder_ffn_dim", "decoder_ffn_dim"), HIDDEN_BY_HEADS, NORM_AFTER),
    "mixtral": SizeRules(_DENSE, _GROUPED, _DEPTH, _EXPERTS),
    "qwen3_moe": SizeRules(_DENSE, _GROUPED, _DEPTH, _EXPERTS),
}
UNKNOWN = SizeRules(NOT_IN_TABLE, NOT_IN_TABLE, NOT_IN_TABLE)


def rules_of(model_type: str) -> SizeRules:
    """Return the rules of a family; those of an unknown one name the reason for everything."""
    return RULES.get(model_type, UNKNOWN)


def without_layers(config: Config, kept: Sequence[int]) -> dict[str, Any]:
    """Return the changes of the config's entries that list layers one by one; kept: numbers of the remaining layers."""
    changes: dict[str, Any] = {}
    types = config.get("layer_types")
    if isinstance(types, list):
        changes["layer_types"] = [types[layer] for layer in kept]
    if isinstance(config.get("mlp_only_layers"), list):
        step = config.get("decoder_sparse_step") or 1
        dense = {layer for layer in kept if layer in config["mlp_only_layers"] or (layer + 1) % step}
        changes |= {
            "mlp_only_layers": [place for place, layer in enumerate(kept) if layer in dense],
            "decoder_sparse_step": 1,
        }
    return changes
