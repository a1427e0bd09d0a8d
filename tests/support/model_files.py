"""Files of a small Llama, written without torch: its config, and safetensors whose numbers are all zero."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 30,
}


def shapes() -> dict[str, tuple[int, ...]]:
    inside = {"q": (24, 24), "k": (12, 24), "v": (12, 24), "o": (24, 24)}
    names: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (30, 24), "model.norm.weight": (24,)}
    for layer in range(2):
        block = f"model.layers.{layer}"
        names |= {f"{block}.self_attn.{name}_proj.weight": shape for name, shape in inside.items()}
        names |= {f"{block}.mlp.{name}_proj.weight": (20, 24) for name in ("gate", "up")}
        names[f"{block}.mlp.down_proj.weight"] = (24, 20)
        names |= {f"{block}.{norm}_layernorm.weight": (24,) for norm in ("input", "post_attention")}
    return names


def safetensors(header: bytes, data: bytes = b"\0\0\0\0") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def weights() -> bytes:
    header, place = {}, 0
    for name, shape in shapes().items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, place + 4 * prod(shape)]}
        place += 4 * prod(shape)
    return safetensors(json.dumps(header).encode(), b"\0" * place)


def entry(**fields: Any) -> bytes:
    """A header with one tensor, some of whose fields are wrong."""
    return json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | fields}).encode()


def write(folder: Path, config: bytes | dict[str, Any] | None = None, model: bytes | None = None) -> Path:
    """Write a folder; config: what is changed in the config, or the whole file."""
    folder.mkdir(parents=True)
    text = config if isinstance(config, bytes) else json.dumps(CONFIG | (config or {})).encode()
    (folder / "config.json").write_bytes(text)
    (folder / "model.safetensors").write_bytes(weights() if model is None else model)
    return folder
