"""Switching units off equals zeroing their weights, and leaves no trace."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from modelshapley.errors import UnitOutOfRange, UnsupportedModel
from modelshapley.interventions.gates import gated, treated
from modelshapley.interventions.verify import verify
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import LLAMA, VIT, ToyTask, tiny

ATTENTION = {"llama": "model.layers.{}.self_attn.o_proj", "vit": "vit.layers.{}.attention.o_proj"}
MLP = {"llama": "model.layers.{}.mlp.down_proj", "vit": "vit.layers.{}.mlp.fc2"}


@pytest.fixture(params=[LLAMA, VIT], ids=["llama", "vit"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny(request.param)


def logits(loaded: LoadedModel, model: nn.Module | None = None) -> torch.Tensor:
    torch.manual_seed(3)
    inputs = torch.randn(4, 1, 8, 8) if loaded.anatomy.modality == "image" else torch.randint(0, 50, (4, 9))
    with torch.no_grad():
        found: torch.Tensor = (model or loaded.model)(inputs).logits
    return found


def by_hand(loaded: LoadedModel, off: dict[str, list[tuple[int, ...]]]) -> nn.Module:
    """A copy whose weights were zeroed here, by names written down in this file."""
    model = copy.deepcopy(loaded.model)
    family, width = loaded.anatomy.model_type, loaded.anatomy.layers[0].attentions[0].width
    for layer, neuron in off.get("neuron", []):
        model.get_submodule(MLP[family].format(layer)).weight[:, neuron] = 0
    for layer, head in off.get("head", []):
        model.get_submodule(ATTENTION[family].format(layer)).weight[:, head * width : (head + 1) * width] = 0
    for (layer,) in off.get("layer", []):
        for path in (ATTENTION, MLP):
            for parameter in model.get_submodule(path[family].format(layer)).parameters():
                parameter.zero_()
    return model


@pytest.mark.parametrize(
    "off",
    [
        {"neuron": [(0, 3), (1, 11), (1, 0)]},
        {"head": [(0, 1), (1, 3)]},
        {"layer": [(1,)]},
        {"neuron": [(0, 0), (0, 5)], "head": [(0, 2)], "layer": [(1,)]},
    ],
    ids=["neurons", "heads", "layer", "mixed"],
)
def test_switching_off_equals_zeroing_the_weights_by_hand(
    loaded: LoadedModel, off: dict[str, list[tuple[int, ...]]]
) -> None:
    intact = logits(loaded)
    with treated(loaded.model, loaded.anatomy, Deactivation.of({UnitKind(k): v for k, v in off.items()})):
        gated_logits = logits(loaded)
    assert not torch.allclose(gated_logits, intact, atol=1e-3)
    torch.testing.assert_close(gated_logits, logits(loaded, by_hand(loaded, off)), atol=1e-5, rtol=1e-5)


def test_hooks_vanish_also_after_an_error(loaded: LoadedModel) -> None:
    intact = logits(loaded)
    with (
        pytest.raises(RuntimeError, match="midway"),
        treated(loaded.model, loaded.anatomy, Deactivation.of({UnitKind.LAYER: [(0,)]})),
    ):
        raise RuntimeError("midway")
    assert torch.equal(logits(loaded), intact)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loaded.model.modules())


def test_zeroed_weights_puts_every_weight_back(loaded: LoadedModel) -> None:
    before = copy.deepcopy(loaded.model.state_dict())
    off = Deactivation.of({UnitKind.LAYER: [(0,)], UnitKind.HEAD: [(0, 1)], UnitKind.NEURON: [(1, 1)]})
    with zeroed_weights(loaded.model, loaded.anatomy, off):
        changed = [key for key, value in loaded.model.state_dict().items() if not torch.equal(value, before[key])]
    assert len(changed) >= 3
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())


def test_a_factor_of_one_leaves_the_model_alone_and_half_is_between(loaded: LoadedModel) -> None:
    intact = logits(loaded)
    ones = np.ones(loaded.anatomy.shapes.of(UnitKind.HEAD))
    with gated(loaded.model, loaded.anatomy, {UnitKind.HEAD: ones}):
        assert torch.equal(logits(loaded), intact)
    half = ones.copy()
    half[0, 0] = 0.5
    with gated(loaded.model, loaded.anatomy, {UnitKind.HEAD: half}):
        assert not torch.allclose(logits(loaded), intact)


def test_a_unit_that_is_not_there_is_named(loaded: LoadedModel) -> None:
    with (
        pytest.raises(UnitOutOfRange, match=r"head \[0, 4\].*0 to 3"),
        treated(loaded.model, loaded.anatomy, Deactivation.of({UnitKind.HEAD: [(0, 4)]})),
    ):
        pass


def test_verification_passes_for_honest_models(loaded: LoadedModel) -> None:
    verify(loaded.model, loaded.anatomy)


def test_verification_refuses_a_model_that_adds_something_else() -> None:
    loaded = tiny(VIT)
    loaded.model.vit.layers[1].register_forward_hook(lambda _, __, output: output + 0.1)
    with pytest.raises(UnsupportedModel, match="Layer 1 adds something"):
        verify(loaded.model, loaded.anatomy)


def test_verification_refuses_a_unit_that_is_read_elsewhere() -> None:
    """A gate on the projection's input must be the same as zeroing its weights; here a bypass makes it differ."""
    loaded = tiny(LLAMA)
    mlp = loaded.model.model.layers[2].mlp
    mlp.down_proj.register_forward_hook(lambda _, args, output: output + args[0].sum(-1, keepdim=True))
    with pytest.raises(UnsupportedModel, match="not the same as zeroing"):
        verify(loaded.model, loaded.anatomy)


def test_verification_refuses_other_sizes() -> None:
    loaded = tiny(LLAMA)
    loaded.model.model.layers[0].mlp.down_proj = nn.Linear(19, 24)
    with pytest.raises(UnsupportedModel, match="20 inputs"):
        verify(loaded.model, loaded.anatomy)


def test_toy_units_matter() -> None:
    """The toys would prove nothing if their units did nothing."""
    loaded = tiny(VIT)
    task = ToyTask(loaded)
    with treated(loaded.model, loaded.anatomy, Deactivation.of({UnitKind.LAYER: [(0,), (1,)]})):
        off = task.losses(loaded, task.examples(Split.PROBE))
    assert (off - task.losses(loaded, task.examples(Split.PROBE))).abs().max() > 0.1
