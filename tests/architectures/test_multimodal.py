"""The language model inside a multimodal one is found where transformers keeps it, at the sizes that it builds."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from modelshapley.architectures.families import anatomy_of
from modelshapley.architectures.multimodal import GEMMA_SIZES, LLAMA_SIZES, QWEN_SIZES
from modelshapley.errors import UnsupportedModel


@pytest.mark.parametrize(
    ("sizes", "config"),
    [
        (LLAMA_SIZES, transformers.LlamaConfig()),
        (GEMMA_SIZES, transformers.Gemma3TextConfig()),
        (QWEN_SIZES, transformers.Qwen2_5_VLConfig().get_text_config()),
        (QWEN_SIZES, transformers.Qwen2VLConfig().get_text_config()),
    ],
)
def test_what_a_config_leaves_out_is_what_transformers_builds(sizes: dict[str, int], config: Any) -> None:
    assert sizes == {name: getattr(config, name) for name in sizes}


def test_a_flat_config_and_one_that_says_little() -> None:
    flat = {"model_type": "qwen2_5_vl", "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2}
    anatomy = anatomy_of(flat | {"num_attention_heads": 4, "num_key_value_heads": 2})
    assert anatomy.layers[1].block == "model.language_model.layers.1"
    assert (anatomy.auto_class, anatomy.opened_by) == ("AutoModelForCausalLM", "AutoModelForImageTextToText")
    little = anatomy_of({"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}})
    assert (anatomy.shapes.layers, little.shapes.layers) == (2, 32)
    assert little.layers[0].mlp.output == "model.language_model.layers.0.mlp.down_proj"


def test_a_language_model_outside_the_table_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"inside this llava model is a 'mamba', which is not in the table"):
        anatomy_of({"model_type": "llava", "text_config": {"model_type": "mamba"}})
