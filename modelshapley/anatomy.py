"""Where a Hugging Face model keeps its units: one row per architecture family, torch-free.

A module path holds ``{layer}``; the names are those of transformers 5.17.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelshapley.contracts import Modality
from modelshapley.errors import UnsupportedModel
from modelshapley.units import UnitShapes


@dataclass(frozen=True)
class Family:
    """One row of the table.

    block: module whose input is the residual stream before layer ``{layer}``.
    attention_output: projection that mixes heads; a head is a slice of its *input*, and its output
        (with bias) is what attention adds to the residual stream.
    mlp_output: last MLP projection; a neuron is a channel of its input, its output is what the MLP adds.
    """

    model_type: str
    auto_class: str
    modality: Modality
    block: str
    attention_output: str
    mlp_output: str
    heads: str = "num_attention_heads"
    layers: str = "num_hidden_layers"
    neurons: str = "intermediate_size"


FAMILIES: Mapping[str, Family] = {
    family.model_type: family
    for family in (
        Family(
            model_type="vit",
            auto_class="AutoModelForImageClassification",
            modality="image",
            block="vit.layers.{layer}",
            attention_output="vit.layers.{layer}.attention.o_proj",
            mlp_output="vit.layers.{layer}.mlp.fc2",
        ),
        Family(
            model_type="llama",
            auto_class="AutoModelForCausalLM",
            modality="text",
            block="model.layers.{layer}",
            attention_output="model.layers.{layer}.self_attn.o_proj",
            mlp_output="model.layers.{layer}.mlp.down_proj",
        ),
    )
}


@dataclass(frozen=True)
class Anatomy:
    """A family together with one model's sizes. `head_width`: channels of a head."""

    family: Family
    shapes: UnitShapes
    head_width: int

    @property
    def modality(self) -> Modality:
        return self.family.modality

    def block(self, layer: int) -> str:
        return self.family.block.format(layer=layer)

    def attention_output(self, layer: int) -> str:
        return self.family.attention_output.format(layer=layer)

    def mlp_output(self, layer: int) -> str:
        return self.family.mlp_output.format(layer=layer)


def anatomy_of(config: Mapping[str, Any]) -> Anatomy:
    """Read the anatomy off a model's config.json.

    Raises UnsupportedModel for a family outside the table, or a size that the config does not give.
    """
    model_type = config.get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise UnsupportedModel(
            f"Models of type {model_type!r} are not supported. Supported: {', '.join(sorted(FAMILIES))}."
        )
    sizes = {}
    for key in (family.layers, family.heads, family.neurons, "hidden_size"):
        size = config.get(key)
        if not isinstance(size, int) or size < 1:
            raise UnsupportedModel(
                f"config.json of this {model_type} model gives {key}={size!r}; a positive number is needed."
            )
        sizes[key] = size
    head_width = config.get("head_dim") or sizes["hidden_size"] // sizes[family.heads]
    return Anatomy(
        family=family,
        shapes=UnitShapes(layers=sizes[family.layers], heads=sizes[family.heads], neurons=sizes[family.neurons]),
        head_width=int(head_width),
    )
