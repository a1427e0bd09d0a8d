"""Vocabulary of the family table: stacks of equal blocks, sized by a model's config.json. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from modelshapley.architectures.anatomy import Anatomy, Attention, Config, Experts, Layer, Mlp, Rows
from modelshapley.architectures.fit import Bounds, Shapes, check_anatomy
from modelshapley.contracts import Modality
from modelshapley.errors import UnsupportedModel

Size = Callable[[Config], int]
Names = tuple[str, ...]

# Ending of a checkpoint's class name, and the transformers class that opens it.
CLASSES = {
    "ForImageClassification": "AutoModelForImageClassification",
    "ForImageClassificationWithTeacher": "AutoModelForImageClassification",
    "ForCausalLM": "AutoModelForCausalLM",
    "LMHeadModel": "AutoModelForCausalLM",
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForConditionalGeneration": "AutoModelForSeq2SeqLM",
}
IMAGES = ("AutoModelForImageClassification",)
CAUSAL = ("AutoModelForCausalLM", "AutoModelForSequenceClassification")
MASKED = ("AutoModelForMaskedLM", "AutoModelForSequenceClassification")
ENCODER_DECODER = ("AutoModelForSeq2SeqLM",)


def number(config: Config, *keys: str) -> int:
    """Return the first of `keys` that config.json gives. Raises UnsupportedModel unless it is a positive number."""
    for key in keys:
        value = config.get(key)
        if value is not None:
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
            break
    problem = f"gives {key}={repr(value)[:60]}" if value is not None else f"gives no {' or '.join(keys)}"
    raise UnsupportedModel(
        f"config.json of this {config.get('model_type')} model {problem}; a positive number is needed."
    )


def key(*keys: str) -> Size:
    """Return a function that reads the first of `keys` from a config."""
    return lambda config: number(config, *keys)


HIDDEN, HEADS = key("hidden_size"), key("num_attention_heads")
LAYERS, NEURONS = key("num_hidden_layers"), key("intermediate_size")


def head_width(hidden: Size, heads: Size) -> Size:
    """Return a function for the channels of a head: `head_dim` if the config gives it."""
    return lambda c: number(c, "head_dim") if c.get("head_dim") else hidden(c) // heads(c)


HEAD_WIDTH = head_width(HIDDEN, HEADS)


@dataclass(frozen=True)
class Map:
    """Linear maps that share a module: part names and their numbers of rows.

    groups: how often the parts alternate in the module's rows (once for each head in GPT-NeoX).
    """

    path: str
    parts: Mapping[str, Size]
    groups: Size = lambda _: 1

    def rows(self, block: str, config: Config) -> list[Rows]:
        """Return the rows of each part in the module of a block."""
        groups = self.groups(config)
        sizes = {name: size(config) // groups for name, size in self.parts.items()}
        stride = sum(sizes.values())
        parts, start = [], 0
        for name, size in sizes.items():
            spans = tuple((group * stride + start, group * stride + start + size) for group in range(groups))
            parts.append(Rows(name, f"{block}.{self.path}", spans))
            start += size
        return parts


@dataclass(frozen=True)
class Stack:
    """A sequence of equal blocks. `block` holds {layer}; the other paths are relative to it.

    attention: output projection of each attention; mlp: the last projection of the MLP; maps: all linear maps.
    added: modules whose outputs attention and MLP add, if these are not those projections.
    norms: as in anatomy.Layer. experts: path, and their number in layer l (0 for a dense MLP).
    """

    block: str
    attention: Names
    mlp: str
    maps: Sequence[Map]
    layers: Size = LAYERS
    heads: Size = HEADS
    width: Size = HEAD_WIDTH
    neurons: Size = NEURONS
    added: Names = ()
    norms: Names = ()
    experts: tuple[str, Callable[[Config, int], int]] | None = None

    def resolve(self, config: Config, bounds: Bounds) -> list[Layer]:
        """Return the layers at the sizes of one config.json. Raises UnsupportedModel for sizes out of bounds."""
        bounds.check(
            self.layers(config), heads=self.heads(config), width=self.width(config), neurons=self.neurons(config)
        )
        return [self._layer(config, layer) for layer in range(self.layers(config))]

    def _layer(self, config: Config, layer: int) -> Layer:
        block = self.block.format(layer=layer)

        def inside(path: str) -> str:
            return f"{block}.{path}"

        added = self.added or (*self.attention, self.mlp)
        attentions = [
            Attention(inside(output), self.heads(config), self.width(config), inside(adds))
            for output, adds in zip(self.attention, added, strict=False)
        ]
        mlp: Mlp | Experts
        count = self.experts[1](config, layer) if self.experts else 0
        if self.experts and count:
            path = self.experts[0]
            mlp = Experts(inside(path), count, inside(path.rpartition(".")[0]))
        else:
            mlp = Mlp(inside(self.mlp), self.neurons(config), inside(added[-1]))
        # The MLP's maps of a mixture lie inside its experts, which are units themselves.
        maps = [m for m in self.maps if not (count and m.path.startswith("mlp."))]
        rows = tuple(rows for m in maps for rows in m.rows(block, config))
        return Layer(block, tuple(attentions), mlp, rows, tuple(inside(norm) for norm in self.norms), layer == 0)


@dataclass(frozen=True)
class Family:
    """One row of the table: a Hugging Face model_type. stacks: in the order in which their layers count.

    mixture: some layers have experts instead of neurons.
    """

    model_type: str
    title: str
    modality: Modality
    classes: Names
    stacks: Callable[[Config], Sequence[Stack]] = field(repr=False)
    mixture: bool = False


def anatomy_in(family: Family, config: Config, tensors: Shapes) -> Anatomy:
    """Return a family's anatomy at the sizes of one config.json, compared with its tensors. Raises UnsupportedModel."""
    bounds = Bounds.of(tensors)
    layers = [layer for stack in family.stacks(config) for layer in stack.resolve(config, bounds)]
    anatomy = Anatomy(family.model_type, class_of(config, family.classes), family.modality, tuple(layers))
    if tensors:
        check_anatomy(anatomy, tensors)
    return anatomy


def class_of(config: Config, allowed: Names) -> str:
    """Return the transformers class that opens a checkpoint, by its class name; the first allowed if it has none.

    Raises UnsupportedModel.
    """
    names = config.get("architectures") or []
    if not names:
        return allowed[0]
    auto_class = next((auto for end, auto in CLASSES.items() if str(names[0]).endswith(end)), None)
    if auto_class not in allowed:
        uses = ", ".join(end for end, auto in CLASSES.items() if auto in allowed)
        raise UnsupportedModel(
            f"{names[0]} cannot be scored: a {config.get('model_type')} model is supported as {uses}."
        )
    return auto_class
