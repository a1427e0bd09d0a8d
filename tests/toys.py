"""Tiny random models and a made-up task, for tests that need any real transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from modelshapley.anatomy import anatomy_of
from modelshapley.contracts import TaskInfo
from modelshapley.models import LoadedModel
from modelshapley.tasks.base import Split, Task

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


def tiny(config: transformers.PretrainedConfig, seed: int = 0) -> LoadedModel:
    """A random model of this config, large enough in its weights for units to matter."""
    torch.manual_seed(seed)
    classes = {"llama": transformers.LlamaForCausalLM, "vit": transformers.ViTForImageClassification}
    model = classes[config.model_type](config).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    model.requires_grad_(False)
    return LoadedModel("toy", "0" * 64, anatomy_of(config.to_dict()), model, None, torch.device("cpu"))


class ToyTask(Task[Tensor]):
    """Random inputs with random labels: a class for images, the next token for text."""

    probe_batch = 5
    test_chunk = 7

    def __init__(self, loaded: LoadedModel, probe: int = 13, test: int = 30) -> None:
        modality = loaded.anatomy.modality
        self.info = TaskInfo(
            id="toy", title="Toy", modality=modality, summary="", probe_examples=probe, test_examples=test
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
        logits = loaded.model(inputs).logits
        return (logits if loaded.anatomy.modality == "image" else logits[:, -1]), labels
