"""Guess of the anatomy of a model outside the table, from the names and shapes of its tensors. Torch-free.

It is only a guess: loading verifies it, and refuses the model if it is wrong.
"""

from __future__ import annotations

import re
from collections import defaultdict

from modelshapley.architectures.anatomy import Anatomy, Attention, Config, Layer, Mlp
from modelshapley.architectures.fit import Shapes
from modelshapley.architectures.stacks import CAUSAL, IMAGES, MASKED, class_of, number
from modelshapley.contracts import Modality
from modelshapley.errors import UnsupportedModel

INSIDE_A_BLOCK = re.compile(r"^(.+?)\.(\d{1,6})\.(.+)\.weight$")
ATTENTION_OUTPUTS = {"o_proj", "out_proj", "out_lin", "c_proj", "dense", "wo", "o", "proj", "Wo"}
MLP_OUTPUTS = {"down_proj", "fc2", "c_proj", "dense_4h_to_h", "w2", "wo", "lin2", "fc_out", "linear2", "dense", "Wo"}


def structural_anatomy(config: Config, tensors: Shapes) -> Anatomy:
    """Guess the heads and neurons of a model with one stack of blocks.

    tensors: {name: shape} of the checkpoint. Raises UnsupportedModel with what could not be found.
    """
    model_type = str(config.get("model_type"))
    try:
        auto_class = class_of(config, tuple(dict.fromkeys((*CAUSAL, *MASKED, *IMAGES))))
        if auto_class in IMAGES and isinstance(config.get("vision_config"), dict):
            config = {**config["vision_config"], "model_type": model_type}  # CLIP and SigLIP: the picture's tower alone
        hidden = number(config, "hidden_size", "d_model", "n_embd", "dim")
        heads = number(config, "num_attention_heads", "n_head", "num_heads", "n_heads")
        prefix, layers, inside = _blocks(tensors)
        attention = _output(inside, "attention output", ATTENTION_OUTPUTS, hidden, in_attention=True)
        mlp = _output(inside, "last MLP projection", MLP_OUTPUTS, hidden, in_attention=False)
        if inside[attention][1] % heads:
            raise UnsupportedModel(
                f"{inside[attention][1]} channels of {attention} are not a multiple of {heads} heads"
            )
    except UnsupportedModel as error:
        raise UnsupportedModel(
            f"Models of type {model_type!r} are outside the table of architectures (GET /api/v1/architectures), "
            f"and its tensors do not show where its units are: {error}"
        ) from error

    def layer(number: int) -> Layer:
        block = f"{prefix}.{number}"
        out, last = f"{block}.{attention}", f"{block}.{mlp}"
        return Layer(
            block,
            (Attention(out, heads, inside[attention][1] // heads, out),),
            Mlp(last, inside[mlp][1], last),
            first=number == 0,
        )

    modality: Modality = "image" if auto_class in IMAGES else "text"
    return Anatomy(model_type, auto_class, modality, tuple(layer(number) for number in range(layers)))


def _blocks(tensors: Shapes) -> tuple[str, int, Shapes]:
    """Find the longest numbered list of modules: its path, its length, and block 0's matrices by relative path."""
    candidates: dict[str, dict[int, dict[str, tuple[int, ...]]]] = defaultdict(lambda: defaultdict(dict))
    for name, shape in tensors.items():
        match = INSIDE_A_BLOCK.match(name)
        if match and len(shape) == 2:
            prefix, number, path = match.groups()
            candidates[prefix][int(number)][path] = shape
    if not candidates:
        raise UnsupportedModel("there is no numbered list of blocks")
    longest = max(len(blocks) for blocks in candidates.values())
    stacks = [prefix for prefix, blocks in candidates.items() if len(blocks) == longest]
    if len(stacks) > 1:
        raise UnsupportedModel(f"there are several lists of {longest} blocks ({', '.join(sorted(stacks))})")
    blocks = candidates[stacks[0]]
    if any(blocks.get(number) != blocks[0] for number in range(longest)):
        raise UnsupportedModel(f"the blocks of {stacks[0]} are not all alike")
    return stacks[0], longest, blocks[0]


def _output(inside: Shapes, what: str, names: set[str], hidden: int, in_attention: bool) -> str:
    candidates = [
        path
        for path, shape in inside.items()
        if path.rpartition(".")[2] in names and shape[0] == hidden and ("att" in path.lower()) == in_attention
    ]
    if len(candidates) != 1:
        raise UnsupportedModel(
            f"{what}: {'nothing fits' if not candidates else 'several fit, ' + ', '.join(candidates)}"
        )
    return candidates[0]
