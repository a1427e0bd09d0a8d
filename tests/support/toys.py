"""Tiny random models and a made-up task, for tests that need any real transformer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from modelshapley.architectures.families import anatomy_of
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prove import prove_shortcuts
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

LLAMA = transformers.LlamaConfig(
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=20,
    vocab_size=50,
    max_position_embeddings=64,
)
VIT = transformers.ViTConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=12,
    image_size=8,
    patch_size=4,
    num_channels=1,
    num_labels=5,
)


KINDS = [kind for kind in UnitKind if kind is not UnitKind.EXPERT]
TEXT: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SOME: dict[str, Any] = TEXT | {"num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}
IMAGE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
    "num_labels": 5,
}
SIDES: dict[str, Any] = {"vocab_size": 50, "d_model": 24, "decoder_start_token_id": 0}
CONFIGS: dict[str, transformers.PretrainedConfig] = {
    "vit": VIT,
    "deit": transformers.DeiTConfig(**IMAGE, intermediate_size=12, architectures=["DeiTForImageClassification"]),
    "dinov2": transformers.Dinov2Config(**IMAGE, mlp_ratio=2),
    "dinov2 with gates": transformers.Dinov2Config(**IMAGE, mlp_ratio=2, use_swiglu_ffn=True),
    "swin": transformers.SwinConfig(
        image_size=8,
        patch_size=1,
        num_channels=1,
        num_labels=5,
        embed_dim=8,
        depths=[1, 2],
        num_heads=[2, 4],
        window_size=4,
        mlp_ratio=1.5,
    ),
    "bert": transformers.BertConfig(**TEXT, architectures=["BertForMaskedLM"]),
    "bert classes": transformers.BertConfig(**TEXT, num_labels=50, architectures=["BertForSequenceClassification"]),
    "roberta": transformers.RobertaConfig(**TEXT, architectures=["RobertaForMaskedLM"]),
    "distilbert": transformers.DistilBertConfig(vocab_size=50, dim=24, hidden_dim=20, n_layers=2, n_heads=4),
    "gpt2": transformers.GPT2Config(
        vocab_size=50, n_embd=24, n_layer=2, n_head=4, n_inner=20, bos_token_id=0, eos_token_id=0
    ),
    "gpt_neox": transformers.GPTNeoXConfig(**TEXT),
    "llama": LLAMA,
    "mistral": transformers.MistralConfig(**SOME),
    "qwen2": transformers.Qwen2Config(**SOME),
    "qwen3": transformers.Qwen3Config(**SOME, head_dim=8),
    "gemma2": transformers.Gemma2Config(**SOME, head_dim=8),
    "gemma3_text": transformers.Gemma3TextConfig(**SOME, head_dim=8),
    "phi3": transformers.Phi3Config(**SOME, bos_token_id=1, eos_token_id=2),
    "t5": transformers.T5Config(
        **SIDES, feed_forward_proj="gelu", d_ff=20, num_layers=2, num_decoder_layers=3, num_heads=4, d_kv=5
    ),
    "t5 with gates": transformers.T5Config(
        **SIDES, d_ff=20, num_layers=1, num_decoder_layers=1, num_heads=4, d_kv=5, feed_forward_proj="gated-gelu"
    ),
    "mt5": transformers.MT5Config(
        **SIDES, d_ff=20, num_layers=1, num_decoder_layers=1, num_heads=4, d_kv=5, feed_forward_proj="gated-gelu"
    ),
    "bart": transformers.BartConfig(
        **SIDES,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=20,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
    ),
    "mixtral": transformers.MixtralConfig(**SOME, num_local_experts=4, num_experts_per_tok=2),
    "qwen3_moe": transformers.Qwen3MoeConfig(
        **SOME,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=12,
        mlp_only_layers=[1],
        norm_topk_prob=True,
    ),
}


def tiny(config: transformers.PretrainedConfig, seed: int = 0) -> LoadedModel:
    """A random model of this config, large enough in its weights for units to matter."""
    torch.manual_seed(seed)
    anatomy = anatomy_of(config.to_dict())
    model = getattr(transformers, anatomy.auto_class).from_config(copy.deepcopy(config)).eval()
    if any(anatomy.shapes.counts[UnitKind.EXPERT]):
        model.set_experts_implementation("eager")  # the grouped one knows no double precision
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    model.requires_grad_(False)
    loaded = LoadedModel("toy", "0" * 64, anatomy, model, None, torch.device("cpu"))
    return replace(loaded, shortcuts=prove_shortcuts(loaded))


class ToyTask(Task[Tensor]):
    """Random inputs with random labels: a class for images, the next token for text."""

    probe_batch = 5
    test_chunk = 7
    single_pass = True

    def __init__(self, loaded: LoadedModel, probe: int = 13, test: int = 30) -> None:
        modality = loaded.anatomy.modality
        self.info = TaskInfo(
            id="toy",
            title="Toy",
            kind="image-classification" if modality == "image" else "language-modelling",
            modality=modality,
            auto_class=loaded.anatomy.auto_class,
            summary="",
            probe_examples=probe,
            test_examples=test,
        )
        generator = torch.Generator().manual_seed(1)
        shape = (1, 8, 8) if modality == "image" else (6,)
        self._data = {}
        for split, count in ((Split.PROBE, probe), (Split.TEST, test)):
            if modality == "image":
                inputs = torch.randn((count, *shape), generator=generator)
                labels = torch.randint(0, 5, (count,), generator=generator)
            else:
                inputs = torch.randint(0, 50, (count, *shape), generator=generator)
                labels = torch.randint(0, 50, (count,), generator=generator)
            self._data[split] = list(zip(inputs, labels, strict=True))

    def examples(self, split: Split, seed: int = 0) -> Sequence[Any]:
        return self._data[split]

    def losses(self, loaded: LoadedModel, examples: Sequence[Any]) -> Tensor:
        logits, labels = self._logits(loaded, examples)
        return functional.cross_entropy(logits, labels, reduction="none")

    def correct(self, loaded: LoadedModel, examples: Sequence[Any]) -> Tensor:
        logits, labels = self._logits(loaded, examples)
        return (logits.argmax(-1) % 3 == labels % 3).cpu()

    def content(self) -> Any:
        return {"toy": len(self._data[Split.PROBE])}

    def _logits(self, loaded: LoadedModel, examples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        inputs, labels = torch.stack([e[0] for e in examples]), torch.stack([e[1] for e in examples])
        if loaded.anatomy.auto_class == "AutoModelForSeq2SeqLM":
            logits = loaded.model(input_ids=inputs, decoder_input_ids=inputs.flip(1)).logits
        else:
            logits = loaded.model(inputs).logits
        return (logits if logits.dim() == 2 else logits[:, -1]), labels
