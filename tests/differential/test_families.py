"""Every family of models against plain loops: this file is the specification of what a number means.

Nothing of the product computes the expected values: they come from plain passes of transformers, one example each,
and from weights that are changed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from modelshapley import load_model
from modelshapley.interventions.gates import treated
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.greedy import greedy
from modelshapley.models.passes.prefix_tree import Continuation, score_continuations
from modelshapley.signals.observe import signals_of
from modelshapley.units import OFF, Deactivation, Treatment, UnitKind
from tests.support.toys import CONFIGS, SOME, TEXT, tiny

WINDOW = 6
STEP = 1e-2  # of a gate: norms and softmax round to float32 whatever the model is in, so a smaller one drowns
CAUSAL: dict[str, transformers.PretrainedConfig] = {
    **{name: CONFIGS[name] for name in ("gpt2", "gpt_neox", "llama", "mixtral", "qwen3_moe")},
    "mistral": transformers.MistralConfig(**SOME, sliding_window=WINDOW),
    "qwen2": transformers.Qwen2Config(**SOME, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "qwen3": transformers.Qwen3Config(
        **SOME, head_dim=8, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=0
    ),
    "gemma2": transformers.Gemma2Config(**SOME, head_dim=8, sliding_window=WINDOW),
    "gemma3_text": transformers.Gemma3TextConfig(**SOME, head_dim=8, sliding_window=WINDOW),
    "phi3": transformers.Phi3Config(**SOME, bos_token_id=1, eos_token_id=2, sliding_window=WINDOW),
    "starcoder2": transformers.Starcoder2Config(**SOME, sliding_window=WINDOW),
    "cohere2": transformers.Cohere2Config(**SOME, sliding_window=WINDOW),
    "olmo2": transformers.Olmo2Config(**SOME),
    "olmo3": transformers.Olmo3Config(**SOME, sliding_window=WINDOW),
    "exaone4": transformers.Exaone4Config(**SOME, sliding_window=WINDOW),
    "glm4": transformers.Glm4Config(**SOME, head_dim=6),
    "granite": transformers.GraniteConfig(**SOME),
    "stablelm": transformers.StableLmConfig(**SOME),
    "opt": transformers.OPTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, ffn_dim=20, word_embed_proj_dim=24, vocab_size=50,
        max_position_embeddings=64, activation_function="gelu",
    ),
    "llama with dynamic rope": transformers.LlamaConfig(
        **(SOME | {"max_position_embeddings": 16}),
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    ),
    "mpt": transformers.MptConfig(d_model=24, n_heads=4, n_layers=2, max_seq_len=64, vocab_size=50),
    "bloom": transformers.BloomConfig(hidden_size=24, n_layer=2, n_head=4, vocab_size=50),
    "falcon": transformers.FalconConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, alibi=True, multi_query=False, vocab_size=50,
        new_decoder_architecture=False,
    ),
    "gpt_neo": transformers.GPTNeoConfig(
        hidden_size=24, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=WINDOW,
        max_position_embeddings=64, vocab_size=50,
    ),
    "opt after": transformers.OPTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, ffn_dim=20, word_embed_proj_dim=24, vocab_size=50,
        max_position_embeddings=64, do_layer_norm_before=False, activation_function="gelu",
    ),
}  # fmt: skip
EYE: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
EYE |= {"image_size": 8, "patch_size": 4}
THREE_AXES = {"rope_type": "default", "mrope_section": [1, 1, 1], "rope_theta": 10000.0}
SEES: dict[str, transformers.PretrainedConfig] = {
    "gemma3 with eyes": transformers.Gemma3Config(
        text_config=SOME | {"head_dim": 8, "sliding_window": WINDOW}, vision_config=EYE, mm_tokens_per_image=4,
        image_token_index=2,
    ),
    "llava": transformers.LlavaConfig(
        text_config=SOME | {"model_type": "llama"}, vision_config=EYE | {"model_type": "clip_vision_model"},
        image_token_index=2,
    ),
    "qwen2.5-vl": transformers.Qwen2_5_VLConfig(
        text_config=SOME | {"rope_parameters": THREE_AXES}, image_token_id=2, video_token_id=1,
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 12, "num_heads": 2, "out_hidden_size": 24,
                       "patch_size": 4},
    ),
}  # fmt: skip
CAUSAL |= SEES  # the language side of models that see, on texts
ENCODERS: dict[str, tuple[str, transformers.PretrainedConfig]] = {
    name: (f"{end}ForSequenceClassification", config(**TEXT, max_position_embeddings=64, pad_token_id=0, **more))
    for name, end, config, more in (
        ("xlm-roberta", "XLMRoberta", transformers.XLMRobertaConfig, {}),
        ("camembert", "Camembert", transformers.CamembertConfig, {}),
        ("electra", "Electra", transformers.ElectraConfig, {"embedding_size": 16}),
        (
            "deberta",
            "Deberta",
            transformers.DebertaConfig,
            {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
        ),
        ("deberta-v2", "DebertaV2", transformers.DebertaV2Config, {"relative_attention": True}),
        ("mpnet", "MPNet", transformers.MPNetConfig, {}),
        ("modernbert", "ModernBert", transformers.ModernBertConfig, {}),
        ("bert", "Bert", transformers.BertConfig, {}),
        ("roberta", "Roberta", transformers.RobertaConfig, {}),
    )
}
REFUSED = {
    "diffllama": ("DiffLlamaForCausalLM", transformers.DiffLlamaConfig(**SOME), "mixes or reorders its heads"),
    "albert": (
        "AlbertForSequenceClassification",
        transformers.AlbertConfig(**TEXT, embedding_size=16),
        "share the weights of one",
    ),
    "mamba": ("MambaForCausalLM", transformers.MambaConfig(hidden_size=24, num_hidden_layers=2), "state-space"),
    "gpt_oss": (
        "GptOssForCausalLM",
        transformers.GptOssConfig(**SOME, head_dim=8, num_local_experts=4, num_experts_per_tok=2),
        "mixture of experts",
    ),
}


def saved(where: Path, name: str, config: transformers.PretrainedConfig) -> Path:
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    model.generation_config = transformers.GenerationConfig()
    model.save_pretrained(where)
    return where


@pytest.fixture(scope="module", params=CAUSAL)
def causal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    config = CAUSAL[request.param]
    config.get_text_config().vocab_size = 50
    opens = transformers.AutoModelForImageTextToText if request.param in SEES else transformers.AutoModelForCausalLM
    name = opens._model_mapping[type(config)].__name__
    if request.param in CONFIGS:
        loaded = tiny(config)  # of the table: no tokenizer is needed
        model: Any = loaded.model
        model.generation_config = None
        return loaded
    return load_without_tokenizer(saved(tmp_path_factory.mktemp("model"), name, config))


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_without_tokenizer(saved(tmp_path_factory.mktemp("model"), *ENCODERS[request.param]))


def load_without_tokenizer(folder: Path) -> LoadedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelshapley.models.loading._tokenizer", lambda _: None)
        return load_model(str(folder))


def tokens(count: int, seed: int = 0) -> list[int]:
    return torch.randint(3, 50, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def as_new(model: Any) -> Any:
    """The model as if it had seen no text: dynamic rope keeps the frequencies of the longest one."""
    for module in model.modules():
        if hasattr(module, "max_seq_len_cached"):
            module.__init__(module.config)
    return model


def plain(loaded: LoadedModel, ids: list[int], start: int) -> torch.Tensor:
    """Mean log-likelihood of ids[start:]: one pass of these tokens, and nothing else."""
    as_new(loaded.model)
    by_place = loaded.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return torch.stack([by_place[i - 1, ids[i]] for i in range(start, len(ids))]).mean()


@pytest.mark.parametrize("length", [4, 20], ids=["short", "beyond the window"])
def test_choices_are_scored_as_each_alone(causal: LoadedModel, length: int) -> None:
    prompts = [tokens(length, 1), tokens(length + 3, 2)]
    rows = [[Continuation([*prompt, *tokens(n, 10 + n)], len(prompt)) for n in (1, 3, 4)] for prompt in prompts]
    with torch.no_grad():
        together = score_continuations(causal, rows).mean
        alone = torch.stack([plain(causal, list(c.tokens), c.start) for row in rows for c in row])
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=1e-4)


def test_a_text_does_not_depend_on_those_beside_it(causal: LoadedModel) -> None:
    texts = [tokens(n, n) for n in (5, 30, 12)]
    with torch.no_grad():
        together = score_continuations(causal, [[Continuation(ids, 1)] for ids in texts]).mean
        alone = torch.stack([plain(causal, ids, 1) for ids in texts])
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=1e-4)


def test_texts_are_written_as_without_padding_or_cache(causal: LoadedModel) -> None:
    prompts, written = [tokens(5, 3), tokens(13, 4)], []
    with torch.no_grad():
        for prompt in prompts:
            ids = list(prompt)
            for _ in range(8):
                ids.append(int(as_new(causal.model)(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            written.append(ids[len(prompt) :])
        assert greedy(causal, prompts, [8, 8]) == written


@contextmanager
def scaled_by_hand(loaded: LoadedModel, kind: UnitKind, unit: tuple[int, ...], factor: float) -> Iterator[None]:
    """Scale the weights, or for a layer the outputs, that one unit adds by."""
    layer = loaded.anatomy.layers[unit[0]]
    if kind is UnitKind.LAYER:
        paths = [*(attention.added for attention in layer.attentions), layer.mlp.added]
        handles = [
            loaded.model.get_submodule(path).register_forward_hook(
                lambda _, __, out: (out[0] * factor, *out[1:]) if isinstance(out, tuple) else out * factor
            )
            for path in paths
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        return
    if kind in (UnitKind.EXPERT, UnitKind.ROW):
        parts = expert_of(loaded, *unit) if kind is UnitKind.EXPERT else row_of(loaded, *unit)
        before_parts = [part.clone() for part in parts]
        for part in parts:
            part.mul_(factor)
        try:
            yield
        finally:
            for part, value in zip(parts, before_parts, strict=True):
                part.copy_(value)
        return
    place, attention = unit[1], layer.attentions[0]
    if kind is UnitKind.HEAD:  # decoders have the heads of two attentions
        for attention in layer.attentions:
            if place < attention.heads:
                break
            place -= attention.heads
    path, width = (attention.output, attention.width) if kind is UnitKind.HEAD else (layer.mlp.output, 1)
    module: Any = loaded.model.get_submodule(path)
    weight = module.weight
    channels = slice(place * width, (place + 1) * width)
    columns = weight[channels] if isinstance(module, transformers.pytorch_utils.Conv1D) else weight[:, channels]
    before = columns.clone()
    columns.mul_(factor)
    try:
        yield
    finally:
        columns.copy_(before)


def expert_of(loaded: LoadedModel, layer: int, expert: int) -> list[torch.Tensor]:
    """The last projection of an expert."""
    mlp: Any = loaded.anatomy.layers[layer].mlp
    module: Any = loaded.model.get_submodule(mlp.path)
    return [module.down_proj[expert]]


def row_of(loaded: LoadedModel, layer: int, row: int) -> list[torch.Tensor]:
    """The weights and bias of one row of a linear map, by its place among the rows of its layer."""
    for rows in loaded.anatomy.layers[layer].rows:
        channels = [channel for start, stop in rows.spans for channel in range(start, stop)]
        if row < len(channels):
            module: Any = loaded.model.get_submodule(rows.path)
            sideways = isinstance(module, transformers.pytorch_utils.Conv1D)
            weight = module.weight[:, channels[row]] if sideways else module.weight[channels[row]]
            return [weight, *([module.bias[channels[row]]] if module.bias is not None else [])]
        row -= len(channels)
    raise AssertionError("there is no such row")


def check_units(loaded: LoadedModel, inputs: torch.Tensor | dict[str, torch.Tensor]) -> None:
    arguments = inputs if isinstance(inputs, dict) else {"input_ids": inputs}
    with torch.no_grad():
        intact = loaded.model(**arguments).logits
        for kind in UnitKind:
            if kind not in loaded.anatomy.shapes.kinds:
                continue
            count = loaded.anatomy.shapes.counts[kind][-1]
            layers = loaded.anatomy.shapes.layers
            for place in ((0, 0), (layers - 1, count - 1)) if count else ():
                unit: tuple[int, ...] = place[:1] if kind is UnitKind.LAYER else place
                if unit[0] == 0 and not loaded.anatomy.shapes.counts[kind][0]:
                    continue
                for factor, treatment in ((0.0, OFF), (0.5, Treatment("scale", 0.5))):
                    off = Deactivation.of({kind: [unit]}, treatment)
                    with treated(loaded.model, loaded.anatomy, off):
                        ours = loaded.model(**arguments).logits
                    with scaled_by_hand(loaded, kind, unit, factor):
                        by_hand = loaded.model(**arguments).logits
                    torch.testing.assert_close(ours, by_hand, atol=1e-4, rtol=1e-4)
                    if kind in (UnitKind.HEAD, UnitKind.LAYER):  # a neuron, row or expert may be silent on this text
                        assert not torch.equal(ours, intact), (kind, unit, factor)


def test_units_off_and_halved_equal_weights_changed_by_hand(causal: LoadedModel) -> None:
    check_units(causal, torch.tensor([tokens(9, 5)]))


def test_units_of_encoders_too(encoder: LoadedModel) -> None:
    check_units(encoder, torch.tensor([tokens(9, 5)]))


OTHERS = sorted(CONFIGS.keys() - CAUSAL.keys())


def some_inputs(loaded: LoadedModel, count: int) -> dict[str, torch.Tensor]:
    """Pictures, texts, or texts with what is written for them."""
    if loaded.anatomy.modality == "image":
        config: Any = loaded.model.config
        vision = getattr(config, "vision_config", config)
        size, generator = vision.image_size, torch.Generator().manual_seed(0)
        return {"pixel_values": torch.randn((count, vision.num_channels, size, size), generator=generator)}
    texts = {"input_ids": torch.tensor([tokens(9, 5 + n) for n in range(count)])}
    if loaded.anatomy.auto_class == "AutoModelForSeq2SeqLM":
        texts["decoder_input_ids"] = torch.tensor([tokens(7, 6 + n) for n in range(count)])
    return texts


@pytest.mark.parametrize("name", OTHERS)
def test_units_of_the_other_families_of_the_table(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    check_units(loaded, some_inputs(loaded, 1))


@pytest.mark.parametrize("name", OTHERS)
def test_derivatives_of_their_layers(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    if UnitKind.EXPERT in loaded.anatomy.shapes.kinds:
        pytest.skip("the grouped experts of transformers know no double precision")
    check_layer_derivatives(loaded, some_inputs(loaded, 2))


def check_layer_derivatives(loaded: LoadedModel, inputs: torch.Tensor | dict[str, torch.Tensor]) -> None:
    named = inputs if isinstance(inputs, dict) else {"input_ids": inputs}
    arguments = {name: value.double() if value.is_floating_point() else value for name, value in named.items()}
    loaded.model.double()
    try:

        def losses() -> torch.Tensor:
            logits: torch.Tensor = loaded.model(**arguments).logits
            return -logits.reshape(len(logits), -1).log_softmax(-1)[:, 1]

        signals = signals_of(loaded.model, loaded.anatomy, losses, [UnitKind.LAYER], parts=("gate",))
        for layer in range(loaded.anatomy.shapes.layers):
            values = {}
            for steps in (-2, -1, 1, 2):
                with torch.no_grad(), scaled_by_hand(loaded, UnitKind.LAYER, (layer,), 1 + steps * STEP):
                    values[steps] = losses()
            slope = (values[-2] - 8 * values[-1] + 8 * values[1] - values[2]) / (12 * STEP)
            ours = signals[UnitKind.LAYER].gate[:, layer, 0].double()
            torch.testing.assert_close(ours, slope, atol=2e-4, rtol=5e-3)
    finally:
        loaded.model.float()


def test_derivatives_of_layers_are_finite_differences(causal: LoadedModel) -> None:
    if UnitKind.EXPERT in causal.anatomy.shapes.kinds:
        pytest.skip("the grouped experts of transformers know no double precision")
    check_layer_derivatives(causal, torch.tensor([tokens(9, 6), tokens(9, 7)]))


def test_derivatives_of_encoders_layers_too(encoder: LoadedModel) -> None:
    check_layer_derivatives(encoder, torch.tensor([tokens(9, 6), tokens(9, 7)]))


LOOKS: dict[str, tuple[str, transformers.PretrainedConfig]] = {
    "clip": ("CLIPForImageClassification", transformers.CLIPConfig(text_config=TEXT, vision_config=EYE)),
    "siglip": ("SiglipForImageClassification", transformers.SiglipConfig(text_config=TEXT, vision_config=EYE)),
}


@pytest.mark.parametrize("name", LOOKS)
def test_towers_that_only_look(name: str, tmp_path: Path) -> None:
    class_name, config = LOOKS[name]
    config.num_labels = 5
    loaded = load_without_tokenizer(saved(tmp_path / "m", class_name, config))
    check_units(loaded, some_inputs(loaded, 1))
    check_layer_derivatives(loaded, some_inputs(loaded, 2))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scored_is_refused_with_the_true_reason(name: str, tmp_path: Path) -> None:
    class_name, config, reason = REFUSED[name]
    with pytest.raises(Exception, match=reason):
        load_without_tokenizer(saved(tmp_path / "m", class_name, config))
