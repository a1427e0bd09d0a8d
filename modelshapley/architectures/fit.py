"""Whether a config.json and the tensors of a checkpoint describe the same model. Torch-free.

A config comes with a submission, and its numbers decide how much work and memory everything else takes. So they are
compared with the tensors, which the bytes of the files bear out, before anything is built from them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from modelshapley.architectures.anatomy import Anatomy, Experts, Layer
from modelshapley.errors import UnsupportedModel

Shapes = Mapping[str, tuple[int, ...]]
BLOCK = re.compile(r"\.(\d{1,6})\.")
MAX_LAYERS, MAX_SIZE = 100_000, 100_000_000  # without tensors to compare with


@dataclass(frozen=True)
class Bounds:
    """Largest number of layers and size of a part that a checkpoint has room for."""

    layers: int
    size: int

    @classmethod
    def of(cls, tensors: Shapes) -> Bounds:
        """Return the bounds of a checkpoint; fixed ones where there are no tensors to compare with."""
        if not tensors:
            return cls(MAX_LAYERS, MAX_SIZE)
        blocks = (name for name in tensors if ".experts." not in name)
        numbers = (int(number) for name in blocks for number in BLOCK.findall(f".{name}."))
        sizes = (size for shape in tensors.values() for size in shape)
        return cls(max(numbers, default=-1) + 1, max(sizes, default=0))

    def check(self, layers: object, **sizes: object) -> None:
        """Raise UnsupportedModel for numbers of config.json that are no positive whole numbers within the bounds."""
        for name, value, most in (("layers", layers, self.layers), *((n, v, self.size) for n, v in sizes.items())):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UnsupportedModel(f"config.json gives {_brief(value)} {name}; a positive whole number is needed.")
            if value > most:
                raise UnsupportedModel(
                    f"config.json gives {_brief(value)} {name}, but the tensors have room for {most:,} at most."
                )


class _Checkpoint:
    """Tensors of a checkpoint, found by the path of their module."""

    def __init__(self, tensors: Shapes) -> None:
        self.tensors = tensors

    @cached_property
    def sizes(self) -> set[int]:
        """Every size of a tensor inside a numbered block."""
        return {size for name, shape in self.tensors.items() if BLOCK.search(f".{name}.") for size in shape}

    def sizes_of(self, module: str) -> set[int]:
        """Return the sizes of a module's weight; of all blocks, where it has another name in the file.

        Files of older versions of transformers name some modules otherwise, and those of a bare model lack the first
        name.
        """
        for path in (module, module.partition(".")[2]):
            shape = self.tensors.get(f"{path}.weight")
            if shape is not None:
                return set(shape)
        return self.sizes


def check_anatomy(anatomy: Anatomy, tensors: Shapes) -> None:
    """Raise UnsupportedModel unless every part of the anatomy has a tensor of its size."""
    checkpoint = _Checkpoint(tensors)
    for number, layer in enumerate(anatomy.layers):
        for what, module, size in _parts(layer):
            if size < 1 or size not in checkpoint.sizes_of(module):
                raise UnsupportedModel(
                    f"config.json gives layer {number} {what} of {size:,} channels, but no tensor of {module} has this "
                    "size; the config is of another model."
                )


def _parts(layer: Layer) -> list[tuple[str, str, int]]:
    """Return the parts of a layer: what they are, the module that has their channels, and how many it has."""
    parts = [("heads", attention.output, attention.heads * attention.width) for attention in layer.attentions]
    if isinstance(layer.mlp, Experts):
        parts.append(("experts", "", layer.mlp.count))
    else:
        parts.append(("neurons", layer.mlp.output, layer.mlp.neurons))
    totals: dict[str, int] = defaultdict(int)
    for rows in layer.rows:
        totals[rows.path] += rows.count
    return [*parts, *(("rows", path, total) for path, total in totals.items())]


def _brief(value: object) -> str:
    """Return a value short enough for a message. A number of thousands of digits has no decimal text at all."""
    if isinstance(value, int) and abs(value) >= 10**18:
        return f"{'-' * (value < 0)}2^{value.bit_length() - 1} or more"
    return repr(value)[:40]
