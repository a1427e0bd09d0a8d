"""Sequences that share beginnings give what each gives alone, in every causal architecture and with units off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelshapley.gates import gated
from modelshapley.models import LoadedModel
from modelshapley.tasks.prefix_tree import Sequel, log_likelihoods
from modelshapley.units import UnitKind
from tests.toys import CONFIGS, tiny

CAUSAL = [name for name, config in CONFIGS.items() if tiny(config).anatomy.auto_class == "AutoModelForCausalLM"]
ROWS = [
    [Sequel([1, 2, 3, 4], 2), Sequel([1, 2, 5], 2), Sequel([1, 2, 3, 6, 7], 2), Sequel([1, 2, 3, 4], 2)],
    [Sequel([9, 8, 7], 1)],
    [Sequel([1, 4], 1), Sequel([11, 12, 13, 14, 15, 16], 3)],
]


def alone(loaded: LoadedModel, sequel: Sequel) -> float:
    """The slow and plain way: one sequence, no mask, all logits."""
    by_token = loaded.model(input_ids=torch.tensor([sequel.tokens])).logits[0].log_softmax(-1)
    counted = range(sequel.start, len(sequel.tokens))
    return float(np.mean([by_token[i - 1, sequel.tokens[i]].item() for i in counted]))


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_a_tree_equals_its_sequences(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    rng = np.random.default_rng(0)
    shapes = loaded.anatomy.shapes
    some_off = {k: (rng.random(shapes.of(k)) < 0.7).astype(float) for k in (UnitKind.HEAD, UnitKind.LAYER)}
    for factors in ({}, some_off):
        with gated(loaded.model, loaded.anatomy, factors):
            expected = [alone(loaded, sequel) for row in ROWS for sequel in row]
            found = log_likelihoods(loaded, ROWS)
            plain = log_likelihoods(loaded, [[sequel] for row in ROWS for sequel in row])
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)
        np.testing.assert_allclose(plain.numpy(), expected, atol=2e-5)


def test_causal_architectures_are_tried() -> None:
    assert {"gpt2", "llama", "gpt_neox", "mistral", "gemma2", "mixtral"} <= set(CAUSAL)
