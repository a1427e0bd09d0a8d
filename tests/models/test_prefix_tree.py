"""Sequences that share beginnings give what each gives alone, in every causal architecture and with units off."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from modelshapley.architectures.families import anatomy_of
from modelshapley.interventions.gates import gated
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import Continuation, log_likelihoods
from modelshapley.signals.observe import signals_of
from modelshapley.units import UnitKind
from tests.support.toys import CONFIGS, tiny
from tests.support.trialling import untouched

CAUSAL = [name for name, config in CONFIGS.items() if anatomy_of(config.to_dict()).auto_class == "AutoModelForCausalLM"]
ROWS = [
    [
        Continuation([1, 2, 3, 4], 2),
        Continuation([1, 2, 5], 2),
        Continuation([1, 2, 3, 6, 7], 2),
        Continuation([1, 2, 3, 4], 2),
    ],
    [Continuation([9, 8, 7], 1)],
    [Continuation([1, 4], 1), Continuation([11, 12, 13, 14, 15, 16], 3)],
]


def alone(loaded: LoadedModel, sequel: Continuation) -> float:
    return float(plain(loaded, sequel))


def plain_loss(loaded: LoadedModel, sequel: Continuation) -> torch.Tensor:
    return -plain(loaded, sequel)[None]


def plain(loaded: LoadedModel, sequel: Continuation) -> torch.Tensor:
    """The slow and plain way: one sequence, no mask, all logits."""
    by_token = loaded.model(input_ids=torch.tensor([sequel.tokens])).logits[0].log_softmax(-1)
    counted = range(sequel.start, len(sequel.tokens))
    return torch.stack([by_token[i - 1, sequel.tokens[i]] for i in counted]).mean()


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


# -- the head, where it counts only --------------------------------------------------------------

SINGLE = [
    [Continuation([1, 2, 3, 4, 6], 2)],
    [Continuation([9, 8, 7], 1)],
    [Continuation([11, 12, 13, 14, 15, 16, 3], 4)],
]


@pytest.mark.parametrize("name", CAUSAL)
def test_derivatives_are_those_of_all_logits(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    kinds = [kind for kind in loaded.anatomy.shapes.kinds if kind is not UnitKind.ROW]
    found = signals_of(loaded.model, loaded.anatomy, lambda: -log_likelihoods(loaded, SINGLE), kinds)
    for number, (sequel,) in enumerate(SINGLE):
        losses = partial(plain_loss, loaded, sequel)
        wanted = signals_of(loaded.model, loaded.anatomy, losses, kinds, parts=("gate",))
        for kind in kinds:
            assert wanted[kind].gate.abs().max() > 0
            torch.testing.assert_close(found[kind].gate[number], wanted[kind].gate[0], atol=2e-5, rtol=1e-4)


class Head:
    """What the head of a model was given."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.shapes: list[tuple[int, ...]] = []
        model: Any = loaded.model
        model.get_output_embeddings().register_forward_hook(lambda _, args, __: self.shapes.append(args[0].shape))


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_the_head_is_computed_where_a_token_counts_and_nowhere_else(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    head = Head(loaded)
    log_likelihoods(loaded, ROWS)
    # Of the first row after 2, 3 and 6 (where 3 is predicted, 5 is, too), of the second after 9 and 8, and so on.
    assert [shape[:2] for shape in head.shapes] == [(1, 3 + 2 + 1 + 3)]


@pytest.mark.parametrize("oddity", ["unknown", "no module", "called by name", "flat"])
@torch.no_grad()
def test_an_odd_head_is_computed_as_before(oddity: str) -> None:
    loaded = tiny(CONFIGS["llama"])
    model: Any = loaded.model
    wanted = [alone(loaded, sequel) for row in ROWS for sequel in row]
    head = model.lm_head
    if oddity == "unknown":
        model.get_output_embeddings = lambda: None
    elif oddity == "no module":
        model.get_output_embeddings = lambda: head.weight
    else:
        model.lm_head = torch.nn.Sequential(head)
        model.get_output_embeddings = lambda: head
        if oddity == "called by name":
            model.lm_head.forward = lambda states: head(input=states)
        else:
            model.lm_head.forward = lambda states: head(states.flatten(0, 1)).unflatten(0, states.shape[:2])
    np.testing.assert_allclose(log_likelihoods(loaded, ROWS).numpy(), wanted, atol=2e-5)


@torch.no_grad()
def test_nothing_is_left_on_the_head_after_an_error() -> None:
    loaded = tiny(CONFIGS["llama"])
    with pytest.raises(IndexError):
        log_likelihoods(loaded, [[Continuation([1, 2, 77], 1)], [Continuation([1, 99, 3], 1)]])
    assert untouched(loaded)
