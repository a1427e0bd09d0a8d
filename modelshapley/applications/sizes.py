"""Size of a model's weights file before it is written: exactly what save_pretrained will write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion
from transformers.modeling_utils import remove_tied_weights_from_state_dict

NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64", torch.bool: "BOOL"}
ALIGNMENT = 8  # of a header of safetensors


@dataclass(frozen=True)
class WeightsSize:
    """bytes: of the safetensors file, header included. parameters: numbers in it, tied ones once."""

    bytes: int
    parameters: int


def weights_size(model: Any) -> WeightsSize:
    """Return the size of the one weights file of a model, which may lie on the meta device.

    The names and shapes are those that save_pretrained of transformers 5.17 writes.
    """
    state = dict(model.state_dict())
    for name in model._keys_to_ignore_on_save or ():
        state.pop(name, None)
    state = remove_tied_weights_from_state_dict(state, model)
    state = revert_weight_conversion(model, state)
    return WeightsSize(_file_bytes(state), sum(tensor.numel() for tensor in state.values()))


def _file_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the size of a safetensors file of these tensors: length of the header, header, values."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    # safetensors orders by the width of the dtype, then by name; the offsets' digits depend on it.
    for name in sorted(state, key=lambda name: (-state[name].element_size(), name)):
        tensor = state[name]
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    length = len(json.dumps(header, separators=(",", ":")).encode())
    return 8 + -(-length // ALIGNMENT) * ALIGNMENT + start
