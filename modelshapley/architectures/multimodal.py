"""The language model inside a multimodal one, which is scored on tasks of text. Torch-free.

Sizes that a config.json leaves out are the defaults of transformers 5.17, as that is what it builds.
"""

from __future__ import annotations

from dataclasses import replace

from modelshapley.architectures.anatomy import Anatomy, Attention, Config, Experts, Layer, Mlp
from modelshapley.architectures.fit import Shapes

LLAMA_SIZES = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
GEMMA_SIZES = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
}
QWEN_SIZES = {
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}
# Model type: the type of its language model, and sizes of that. None: the text_config names the type.
LANGUAGE_SIDES: dict[str, tuple[str | None, Config]] = {
    "llava": (None, {}),
    "llava_next": (None, {}),
    "gemma3": ("gemma3_text", GEMMA_SIZES),
    "qwen2_vl": ("qwen2", QWEN_SIZES),
    "qwen2_5_vl": ("qwen2", QWEN_SIZES),
}
INSIDE = "model.language_model."  # where transformers keeps the language model's own modules
# What checkpoints write in front of the language model's tensors, and what these are called without it.
BEFORE = (("model.language_model.", "model."), ("language_model.", ""))
OTHERS = ("visual.", "model.visual.", "vision_tower.", "model.vision_tower.", "multi_modal_projector.")


def text_config(config: Config) -> Config:
    """Return the config of the language model, as if it stood alone; flat configs hold it themselves."""
    model_type, sizes = LANGUAGE_SIDES[str(config["model_type"])]
    inner = config.get("text_config")
    inner = inner if isinstance(inner, dict) else config
    model_type = model_type or str(inner.get("model_type", "llama"))
    sizes = LLAMA_SIZES if model_type == "llama" else sizes
    return {**sizes, **inner, "model_type": model_type, "architectures": []}


def text_tensors(tensors: Shapes) -> Shapes:
    """Return the language model's tensors, named as if it stood alone."""
    return {_alone(name): shape for name, shape in tensors.items() if not name.startswith(OTHERS)}


def _alone(name: str) -> str:
    for prefix, instead in BEFORE:
        if name.startswith(prefix):
            return instead + name.removeprefix(prefix)
    return name


def within(anatomy: Anatomy, model_type: str) -> Anatomy:
    """Return the anatomy of a language model as it lies inside a multimodal one."""
    layers = tuple(_moved(layer) for layer in anatomy.layers)
    return replace(anatomy, model_type=model_type, opened_by="AutoModelForImageTextToText", layers=layers)


def _moved(layer: Layer) -> Layer:
    return replace(
        layer,
        block=_inside(layer.block),
        attentions=tuple(_moved_attention(attention) for attention in layer.attentions),
        mlp=_moved_mlp(layer.mlp),
        rows=tuple(replace(rows, path=_inside(rows.path)) for rows in layer.rows),
        norms=tuple(map(_inside, layer.norms)),
    )


def _moved_attention(attention: Attention) -> Attention:
    return replace(attention, output=_inside(attention.output), added=_inside(attention.added))


def _moved_mlp(mlp: Mlp | Experts) -> Mlp | Experts:
    if isinstance(mlp, Experts):
        return replace(mlp, path=_inside(mlp.path), added=_inside(mlp.added))
    return replace(mlp, output=_inside(mlp.output), added=_inside(mlp.added))


def _inside(path: str) -> str:
    return INSIDE + path.removeprefix("model.")
