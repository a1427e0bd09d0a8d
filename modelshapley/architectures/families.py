"""Architecture families and the locations of their units: one readable table at the end, torch-free.

Module paths are those of transformers 5.17; paths inside a block are relative to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from modelshapley.architectures.anatomy import Anatomy, Config
from modelshapley.architectures.fit import Shapes
from modelshapley.architectures.multimodal import LANGUAGE_SIDES, text_config, text_tensors, within
from modelshapley.architectures.refused import REFUSED
from modelshapley.architectures.stacks import (
    CAUSAL,
    CLASSES,
    ENCODER_DECODER,
    HEAD_WIDTH,
    HEADS,
    HIDDEN,
    IMAGES,
    MASKED,
    NEURONS,
    Family,
    Map,
    Size,
    Stack,
    anatomy_in,
    head_width,
    key,
    number,
)
from modelshapley.architectures.structural import structural_anatomy
from modelshapley.contracts import ArchitectureInfo
from modelshapley.errors import UnsupportedModel
from modelshapley.units import UnitKind

MAX_STAGES = 16  # of a Swin

# -- layouts that several families share --------------------------------------------------------


def _maps(*parts: tuple[str, str, Size]) -> list[Map]:
    return [Map(path, {name: size}) for name, path, size in parts]


def _query_rows(c: Config) -> int:
    return HEADS(c) * HEAD_WIDTH(c)


def _key_rows(c: Config) -> int:
    return number(c, "num_key_value_heads", "num_attention_heads") * HEAD_WIDTH(c)


LLAMA_ATTENTION = _maps(
    ("q", "self_attn.q_proj", _query_rows),
    ("k", "self_attn.k_proj", _key_rows),
    ("v", "self_attn.v_proj", _key_rows),
    ("o", "self_attn.o_proj", HIDDEN),
)
LLAMA_MLP = _maps(("gate", "mlp.gate_proj", NEURONS), ("up", "mlp.up_proj", NEURONS), ("down", "mlp.down_proj", HIDDEN))


def _llama(**others: object) -> Callable[[Config], Sequence[Stack]]:
    defaults = {"attention": ("self_attn.o_proj",), "mlp": "mlp.down_proj", "maps": [*LLAMA_ATTENTION, *LLAMA_MLP]}
    stack = Stack("model.layers.{layer}", **(defaults | others))  # type: ignore[arg-type]  # fields of Stack
    return lambda _: [stack]


def _phi3() -> Callable[[Config], Sequence[Stack]]:
    return _llama(
        maps=[
            Map("self_attn.qkv_proj", {"q": _query_rows, "k": _key_rows, "v": _key_rows}),
            Map("self_attn.o_proj", {"o": HIDDEN}),
            Map("mlp.gate_up_proj", {"gate": NEURONS, "up": NEURONS}),
            Map("mlp.down_proj", {"down": HIDDEN}),
        ]
    )


# Gemma normalises the outputs of attention and MLP before they are added.
GEMMA_ADDED = ("post_attention_layernorm", "post_feedforward_layernorm")


def _mixture(experts: Callable[[Config, int], int]) -> Callable[[Config], Sequence[Stack]]:
    return _llama(experts=("mlp.experts", experts))


def _mixtral_experts(c: Config, layer: int) -> int:
    return number(c, "num_local_experts")


def _qwen_experts(c: Config, layer: int) -> int:
    sparse = layer not in (c.get("mlp_only_layers") or []) and (layer + 1) % (c.get("decoder_sparse_step") or 1) == 0
    return number(c, "num_experts", "num_local_experts") if sparse else 0


def _vit(prefix: str) -> Callable[[Config], Sequence[Stack]]:
    stack = Stack(
        prefix + ".layers.{layer}",
        ("attention.o_proj",),
        "mlp.fc2",
        _maps(
            ("q", "attention.q_proj", _query_rows),
            ("k", "attention.k_proj", _query_rows),
            ("v", "attention.v_proj", _query_rows),
            ("o", "attention.o_proj", HIDDEN),
            ("up", "mlp.fc1", NEURONS),
            ("down", "mlp.fc2", HIDDEN),
        ),
    )
    return lambda _: [stack]


def _bert_maps(hidden: Size, up: str, down: str) -> list[Map]:
    return _maps(
        ("q", "attention.self.query", hidden),
        ("k", "attention.self.key", hidden),
        ("v", "attention.self.value", hidden),
        ("o", "attention.output.dense", hidden),
        ("up", up, NEURONS),
        ("down", down, hidden),
    )


def _bert(prefix: str) -> Callable[[Config], Sequence[Stack]]:
    stack = Stack(
        prefix + ".encoder.layer.{layer}",
        ("attention.output.dense",),
        "output.dense",
        _bert_maps(HIDDEN, "intermediate.dense", "output.dense"),
        norms=("attention.output.LayerNorm", "output.LayerNorm"),
    )
    return lambda _: [stack]


def _ratio(hidden: Size) -> Size:
    def neurons(c: Config) -> int:
        ratio = c.get("mlp_ratio", 4)
        if not isinstance(ratio, int | float) or ratio <= 0:
            raise UnsupportedModel(f"config.json gives mlp_ratio={ratio!r}; a positive number is needed.")
        return int(hidden(c) * ratio)

    return neurons


# -- layouts of one family ----------------------------------------------------------------------


def _dinov2(config: Config) -> list[Stack]:
    swiglu = bool(config.get("use_swiglu_ffn"))
    dense = _ratio(HIDDEN)

    def neurons(c: Config) -> int:
        return (int(dense(c) * 2 / 3) + 7) // 8 * 8 if swiglu else dense(c)

    attention = [Map(m.path.replace("self", "attention"), m.parts) for m in _bert_maps(HIDDEN, "", "")[:4]]
    if swiglu:
        mlp = [Map("mlp.weights_in", {"gate": neurons, "up": neurons}), Map("mlp.weights_out", {"down": HIDDEN})]
    else:
        mlp = _maps(("up", "mlp.fc1", neurons), ("down", "mlp.fc2", HIDDEN))
    return [
        Stack(
            "dinov2.encoder.layer.{layer}",
            ("attention.output.dense",),
            mlp[-1].path,
            [*attention, *mlp],
            neurons=neurons,
            added=("layer_scale1", "layer_scale2"),
        )
    ]


def _swin(config: Config) -> list[Stack]:
    """Return one stack for each stage: each has twice the channels of the one before, and its own number of heads."""
    depths, heads = config.get("depths"), config.get("num_heads")
    if not (isinstance(depths, list) and isinstance(heads, list) and 0 < len(depths) == len(heads) <= MAX_STAGES):
        raise UnsupportedModel(
            f"config.json of this swin model gives depths={repr(depths)[:60]}, num_heads={repr(heads)[:60]}."
        )
    return [
        _swin_stage(stage, number(config, "embed_dim") * 2**stage, depth, head)
        for stage, (depth, head) in enumerate(zip(depths, heads, strict=True))
    ]


def _swin_stage(stage: int, hidden: int, depth: int, heads: int) -> Stack:
    def channels(_: Config) -> int:
        return hidden

    (vit,) = _vit("")({})
    neurons = _ratio(channels)
    sizes = {"mlp.fc1": neurons}
    return Stack(
        f"swin.encoder.layers.{stage}.blocks.{{layer}}",
        vit.attention,
        vit.mlp,
        [Map(m.path, {name: sizes.get(m.path, channels) for name in m.parts}) for m in vit.maps],
        layers=lambda _: depth,
        heads=lambda _: heads,
        width=lambda _: hidden // heads,
        neurons=neurons,
    )


def _distilbert(config: Config) -> list[Stack]:
    dim, heads = key("dim"), key("n_heads")
    return [
        Stack(
            "distilbert.transformer.layer.{layer}",
            ("attention.out_lin",),
            "ffn.lin2",
            _maps(
                ("q", "attention.q_lin", dim),
                ("k", "attention.k_lin", dim),
                ("v", "attention.v_lin", dim),
                ("o", "attention.out_lin", dim),
                ("up", "ffn.lin1", key("hidden_dim")),
                ("down", "ffn.lin2", dim),
            ),
            layers=key("n_layers"),
            heads=heads,
            width=head_width(dim, heads),
            neurons=key("hidden_dim"),
            norms=("sa_layer_norm", "output_layer_norm"),
        )
    ]


def _gpt2(config: Config) -> list[Stack]:
    hidden, heads = key("n_embd", "hidden_size"), key("n_head", "num_attention_heads")

    def neurons(c: Config) -> int:
        return number(c, "n_inner") if c.get("n_inner") else 4 * hidden(c)

    return [
        Stack(
            "transformer.h.{layer}",
            ("attn.c_proj",),
            "mlp.c_proj",
            [
                Map("attn.c_attn", {"q": hidden, "k": hidden, "v": hidden}),
                *_maps(("o", "attn.c_proj", hidden), ("up", "mlp.c_fc", neurons), ("down", "mlp.c_proj", hidden)),
            ],
            layers=key("n_layer", "num_hidden_layers"),
            heads=heads,
            width=head_width(hidden, heads),
            neurons=neurons,
        )
    ]


def _gpt_neox(config: Config) -> list[Stack]:
    return [
        Stack(
            "gpt_neox.layers.{layer}",
            ("attention.dense",),
            "mlp.dense_4h_to_h",
            [
                Map("attention.query_key_value", {"q": HIDDEN, "k": HIDDEN, "v": HIDDEN}, groups=HEADS),
                *_maps(
                    ("o", "attention.dense", HIDDEN),
                    ("up", "mlp.dense_h_to_4h", NEURONS),
                    ("down", "mlp.dense_4h_to_h", HIDDEN),
                ),
            ],
        )
    ]


def _t5(config: Config) -> list[Stack]:
    hidden, heads, neurons = key("d_model"), key("num_heads"), key("d_ff")
    gated = str(config.get("feed_forward_proj", "relu")).startswith("gated")

    def inner(c: Config) -> int:
        return heads(c) * number(c, "d_kv")

    def attention(layer: int, name: str, prefix: str = "") -> list[Map]:
        path = f"layer.{layer}.{name}"
        return [
            *_maps(*((prefix + part, f"{path}.{part}", inner) for part in "qkv")),
            Map(f"{path}.o", {prefix + "o": hidden}),
        ]

    def stack(side: str, layers: Size, attentions: Sequence[str]) -> Stack:
        maps = [m for n, name in enumerate(attentions) for m in attention(n, name, "cross " if n else "")]
        mlp = f"layer.{len(attentions)}.DenseReluDense"
        ups = {"gate": "wi_0", "up": "wi_1"} if gated else {"up": "wi"}
        return Stack(
            side + ".block.{layer}",
            tuple(f"layer.{n}.{name}.o" for n, name in enumerate(attentions)),
            f"{mlp}.wo",
            [*maps, *_maps(*((n, f"{mlp}.{p}", neurons) for n, p in ups.items()), ("down", f"{mlp}.wo", hidden))],
            layers=layers,
            heads=heads,
            width=key("d_kv"),
            neurons=neurons,
        )

    return [
        stack("encoder", key("num_layers"), ["SelfAttention"]),
        stack("decoder", key("num_decoder_layers", "num_layers"), ["SelfAttention", "EncDecAttention"]),
    ]


def _bart(config: Config) -> list[Stack]:
    hidden = key("d_model")

    def stack(side: str, attentions: Sequence[str]) -> Stack:
        heads, neurons = key(f"{side}_attention_heads"), key(f"{side}_ffn_dim")
        parts = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}
        maps = _maps(
            *(
                ("cross " * n + part, f"{name}.{path}", hidden)
                for n, name in enumerate(attentions)
                for part, path in parts.items()
            ),
            ("up", "fc1", neurons),
            ("down", "fc2", hidden),
        )
        return Stack(
            f"model.{side}.layers.{{layer}}",
            tuple(f"{name}.out_proj" for name in attentions),
            "fc2",
            maps,
            layers=key(f"{side}_layers"),
            heads=heads,
            width=head_width(hidden, heads),
            neurons=neurons,
            norms=(*(f"{name}_layer_norm" for name in attentions), "final_layer_norm"),
        )

    return [stack("encoder", ["self_attn"]), stack("decoder", ["self_attn", "encoder_attn"])]


FAMILIES: Mapping[str, Family] = {
    family.model_type: family
    for family in (
        Family("vit", "ViT", "image", IMAGES, _vit("vit")),
        Family("deit", "DeiT", "image", IMAGES, _vit("deit")),
        Family("dinov2", "DINOv2", "image", IMAGES, _dinov2),
        Family("swin", "Swin", "image", IMAGES, _swin),
        Family("bert", "BERT", "text", MASKED, _bert("bert")),
        Family("roberta", "RoBERTa", "text", MASKED, _bert("roberta")),
        Family("distilbert", "DistilBERT", "text", MASKED, _distilbert),
        Family("gpt2", "GPT-2", "text", CAUSAL, _gpt2),
        Family("gpt_neox", "GPT-NeoX, Pythia", "text", CAUSAL, _gpt_neox),
        Family("llama", "Llama", "text", CAUSAL, _llama()),
        Family("mistral", "Mistral", "text", CAUSAL, _llama()),
        Family("qwen2", "Qwen2, Qwen2.5", "text", CAUSAL, _llama()),
        Family("qwen3", "Qwen3", "text", CAUSAL, _llama()),
        Family("gemma2", "Gemma 2", "text", CAUSAL, _llama(added=GEMMA_ADDED)),
        Family("gemma3_text", "Gemma 3 (text)", "text", CAUSAL, _llama(added=GEMMA_ADDED)),
        Family("phi3", "Phi-3", "text", CAUSAL, _phi3()),
        Family("t5", "T5", "text", ENCODER_DECODER, _t5),
        Family("mt5", "mT5", "text", ENCODER_DECODER, _t5),
        Family("bart", "BART", "text", ENCODER_DECODER, _bart),
        Family("mixtral", "Mixtral", "text", CAUSAL, _mixture(_mixtral_experts), mixture=True),
        Family("qwen3_moe", "Qwen3-MoE", "text", CAUSAL, _mixture(_qwen_experts), mixture=True),
    )
}


def describe_families() -> list[ArchitectureInfo]:
    """Describe the table for the API and the docs."""
    return [
        ArchitectureInfo(
            model_type=family.model_type,
            title=family.title,
            modality=family.modality,
            classes=[end for end, auto in CLASSES.items() if auto in family.classes],
            units=[kind for kind in UnitKind if kind is not UnitKind.EXPERT or family.mixture],
        )
        for family in FAMILIES.values()
    ]


def anatomy_of(config: Config, tensors: Shapes | None = None) -> Anatomy:
    """Return the anatomy of a model, by its config.json; by its tensors' names if its family is not in the table.

    tensors: {name: shape}. Raises UnsupportedModel if neither suffices.
    """
    model_type = config.get("model_type")
    if model_type is not None and not isinstance(model_type, str):
        raise UnsupportedModel(f"config.json gives model_type={repr(model_type)[:60]}; a name is needed.")
    try:
        if model_type in LANGUAGE_SIDES:
            return within(_language_model(config, tensors or {}), model_type)
        family = FAMILIES.get(str(model_type))
        if family is None:
            if model_type in REFUSED:
                reason = f"Models of type {model_type!r} are not supported: {REFUSED[model_type]}"
                raise UnsupportedModel(f"{reason}. See docs/architectures.md.")
            return structural_anatomy(config, tensors or {})
        return anatomy_in(family, config, tensors or {})
    except UnsupportedModel:
        raise
    except Exception as error:  # a value of another type than any model has: each family reads its own keys
        raise UnsupportedModel(f"config.json has a value that no model has: {error}.") from error


def _language_model(config: Config, tensors: Shapes) -> Anatomy:
    """Return the anatomy of the language model inside a multimodal one, as if it stood alone."""
    inner = text_config(config)
    family = FAMILIES.get(str(inner["model_type"]))
    if family is None or CAUSAL[0] not in family.classes:
        raise UnsupportedModel(
            f"The language model inside this {config['model_type']} model is a {str(inner['model_type'])[:60]!r}, "
            "which is not in the table. See docs/architectures.md."
        )
    return anatomy_in(family, inner, text_tensors(tensors))
