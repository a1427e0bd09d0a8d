"""How a row of the family table is written: stacks of equal blocks, sized by a model's config.json. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from modelshapley.architectures.anatomy import Anatomy, Attention, Config, Experts, Layer, Mlp, Rows
from modelshapley.contracts import Modality
from modelshapley.errors import UnsupportedModel

Size = Callable[[Config], int]
Names = tuple[str, ...]

# What a checkpoint's class name ends with, and the transformers class that opens it.
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
TWO_SIDES = ("AutoModelForSeq2SeqLM",)


def number(config: Config, *keys: str) -> int:
    """The first of `keys` that config.json gives. Raises UnsupportedModel where none is a positive number."""
    for key in keys:
        value = config.get(key)
        if value is not None:
            if isinstance(value, int) and value > 0:
                return value
            break
    given = f"gives {key}={value!r}" if value is not None else f"gives no {' or '.join(keys)}"
    raise UnsupportedModel(
        f"config.json of this {config.get('model_type')} model {given}; a positive number is needed."
    )


def key(*keys: str) -> Size:
    return lambda config: number(config, *keys)


HIDDEN, HEADS = key("hidden_size"), key("num_attention_heads")
LAYERS, NEURONS = key("num_hidden_layers"), key("intermediate_size")


def head_width(hidden: Size, heads: Size) -> Size:
    return lambda c: c["head_dim"] if c.get("head_dim") else hidden(c) // heads(c)


HEAD_WIDTH = head_width(HIDDEN, HEADS)


@dataclass(frozen=True)
class Map:
    """Linear maps that share a module: part names and their rows.

    groups: how many times the parts take turns in the module's rows (once a head in GPT-NeoX).
    """

    path: str
    parts: Mapping[str, Size]
    groups: Size = lambda _: 1

    def rows(self, block: str, config: Config) -> list[Rows]:
        groups = self.groups(config)
        sizes = {name: size(config) // groups for name, size in self.parts.items()}
        stride = sum(sizes.values())
        found, start = [], 0
        for name, size in sizes.items():
            spans = tuple((group * stride + start, group * stride + start + size) for group in range(groups))
            found.append(Rows(name, f"{block}.{self.path}", spans))
            start += size
        return found


@dataclass(frozen=True)
class Stack:
    """Blocks in a row, all alike. `block` holds {layer}; the other paths go on from it.

    attention: output projection of each attention; mlp: the last projection of the MLP; maps: all linear maps.
    added: what attention and MLP add, where that is not the output of those projections.
    norms: as in anatomy.Layer. experts: path, and how many in layer l (0: a dense MLP there).
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

    def resolve(self, config: Config) -> list[Layer]:
        return [self._layer(config, layer) for layer in range(self.layers(config))]

    def _layer(self, config: Config, layer: int) -> Layer:
        block = self.block.format(layer=layer)

        def at(path: str) -> str:
            return f"{block}.{path}"

        added = self.added or (*self.attention, self.mlp)
        attentions = [
            Attention(at(output), self.heads(config), self.width(config), at(adds))
            for output, adds in zip(self.attention, added, strict=False)
        ]
        mlp: Mlp | Experts
        count = self.experts[1](config, layer) if self.experts else 0
        if self.experts and count:
            path = self.experts[0]
            mlp = Experts(at(path), count, at(path.rpartition(".")[0]))
        else:
            mlp = Mlp(at(self.mlp), self.neurons(config), at(added[-1]))
        # A mixture's maps lie inside its experts, who are units themselves.
        maps = [m for m in self.maps if not (count and m.path.startswith("mlp."))]
        rows = tuple(rows for m in maps for rows in m.rows(block, config))
        return Layer(block, tuple(attentions), mlp, rows, tuple(at(norm) for norm in self.norms), layer == 0)


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


def anatomy_in(family: Family, config: Config) -> Anatomy:
    """A family's anatomy at the sizes of one config.json. Raises UnsupportedModel."""
    layers = [layer for stack in family.stacks(config) for layer in stack.resolve(config)]
    return Anatomy(family.model_type, class_of(config, family.classes), family.modality, tuple(layers))


def class_of(config: Config, allowed: Names) -> str:
    """The transformers class that opens a checkpoint, by its own class name; the first allowed if it has none.

    Raises UnsupportedModel.
    """
    names = config.get("architectures") or []
    if not names:
        return allowed[0]
    found = next((auto for end, auto in CLASSES.items() if str(names[0]).endswith(end)), None)
    if found not in allowed:
        uses = ", ".join(end for end, auto in CLASSES.items() if auto in allowed)
        raise UnsupportedModel(
            f"{names[0]} cannot be scored: a {config.get('model_type')} model is supported as {uses}."
        )
    return found
