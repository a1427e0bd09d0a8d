"""Random language models of chosen shapes, made on the device, and a task of random tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from modelshapley.architectures.families import anatomy_of
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2 model. tied: embeddings are the output layer, too. positions: the longest sequence."""

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    vocab: int = 8192
    tied: bool = False
    positions: int = 128


def random_qwen2(shape: Shape, device: str, dtype: str) -> LoadedModel:
    """Return a frozen model with random weights, seed 0, whose shortcuts are not proven yet."""
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=shape.tied,
    )
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.eval().requires_grad_(False)
    return LoadedModel("qwen2", "", anatomy_of(config.to_dict()), model, None, torch.device(device))


def random_tokens(loaded: LoadedModel, sequences: int, length: int) -> Tensor:
    """Return random tokens, (sequences, length), on the model's device."""
    model: Any = loaded.model
    return torch.randint(0, model.config.vocab_size, (sequences, length), device=loaded.device)


class NextToken(Task[Tensor]):
    """Task of random tokens; the loss is the mean negative log-likelihood of every next token.

    An example counts as right by the geometric mean of these likelihoods, which any change of the logits moves.
    """

    single_pass = True

    def __init__(self, sequences: Tensor) -> None:
        self.sequences, self.probe_batch, self.test_chunk = sequences, len(sequences), len(sequences)
        self.info = TaskInfo(
            id="next-token",
            title="",
            kind="language-modelling",
            modality="text",
            auto_class="AutoModelForCausalLM",
            summary="",
            probe_examples=len(sequences),
            test_examples=len(sequences),
        )

    def examples(self, split: Split, seed: int = 0) -> Sequence[Tensor]:
        return list(self.sequences)

    def losses(self, loaded: LoadedModel, examples: Sequence[Tensor]) -> Tensor:
        tokens = torch.stack(list(examples))
        model: Any = loaded.model
        logits = model(tokens, use_cache=False).logits[:, :-1].float()
        return functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)

    def correct(self, loaded: LoadedModel, examples: Sequence[Tensor]) -> Tensor:
        return (-self.losses(loaded, examples)).exp().cpu()

    def content(self) -> Any:
        return self.sequences.tolist()
