"""Repairs: what they compute, and that they are kept only if they help."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modelshapley import prune
from modelshapley.applications import proof
from modelshapley.applications.plans import plan_pruning
from modelshapley.applications.repairing.means import fold_means
from modelshapley.applications.surgery import smaller_model
from modelshapley.errors import ModelShapleyError, UnsupportedModel
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny

NEURON, HEAD = UnitKind.NEURON, UnitKind.HEAD


def with_biases(name: str) -> Any:
    config = copy.deepcopy(CONFIGS[name])
    config.mlp_bias = config.attention_bias = True
    return config


def held_at_means(loaded: LoadedModel, task: ToyTask, units: Deactivation, examples: int) -> Tensor:
    """Logits with the units' channels replaced by their means over positions, by hooks of this test's own."""
    model = loaded.model
    gone: dict[str, list[int]] = {}
    for kind in (NEURON, HEAD):
        for layer, unit in units.of_kind(kind):
            (site,) = loaded.anatomy.sites(kind, layer)
            gone.setdefault(site.path, []).extend(range(unit * site.width, (unit + 1) * site.width))
    seen: dict[str, list[Tensor]] = {path: [] for path in gone}

    def note(path: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen[path].append(args[0].reshape(-1, args[0].shape[-1]))

    def hold(path: str, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = args[0].clone()
        z[..., gone[path]] = torch.cat(seen[path]).mean(0)[gone[path]]
        return (z,)

    with torch.inference_mode():
        for hook in (note, hold):
            with ExitStack() as stack:
                for path in gone:
                    module = model.get_submodule(path)
                    stack.callback(module.register_forward_pre_hook(partial(hook, path)).remove)
                if hook is note:
                    for example in task._data["probe"][:examples]:
                        task.losses(loaded, [example])
                else:
                    return proof.logits_of(model, loaded)
    raise AssertionError


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        (VIT, [NEURON, HEAD]),
        (CONFIGS["gpt2"], [NEURON, HEAD]),  # its heads are zeroed in place
        (CONFIGS["distilbert"], [NEURON]),
        (with_biases("llama"), [NEURON, HEAD]),
        (CONFIGS["gpt_neox"], [NEURON]),
    ],
    ids=["vit", "gpt2", "distilbert", "llama with biases", "gpt_neox"],
)
def test_means_in_biases_are_units_held_at_their_means(config: Any, kinds: list[UnitKind]) -> None:
    loaded = tiny(config)
    task = ToyTask(loaded, probe=10)
    chosen = {NEURON: [(0, 1), (0, 5), (1, 2), (1, 3)], HEAD: [(0, 0), (0, 1), (1, 2), (1, 3)]}
    units = Deactivation.of({kind: chosen[kind] for kind in kinds})
    plan = plan_pruning(loaded, units)
    smaller = smaller_model(loaded, plan, torch.float32)
    off = proof.logits_of(smaller, loaded)
    fold_means(loaded, smaller, plan, task, 0, 10)
    folded, expected = proof.logits_of(smaller, loaded), held_at_means(loaded, task, units, 10)
    assert (folded - expected).abs().max() <= 1e-4
    assert (folded - off).abs().max() > 1e-3  # the means do something


def test_padded_layers_are_folded_too() -> None:
    loaded = tiny(VIT)
    task, units = ToyTask(loaded, probe=6), Deactivation.of({NEURON: [(0, 1), (0, 2), (1, 3)]})
    plan = plan_pruning(loaded, units)
    assert plan.modes == {NEURON: "padded"}
    smaller = smaller_model(loaded, plan, torch.float32)
    fold_means(loaded, smaller, plan, task, 0, 6)
    assert (proof.logits_of(smaller, loaded) - held_at_means(loaded, task, units, 6)).abs().max() <= 1e-4


def test_means_have_no_place_without_biases(tmp_path: Path) -> None:
    loaded = tiny(LLAMA)
    off = Deactivation.of({NEURON: [(0, 1)]})
    with pytest.raises(UnsupportedModel, match="no biases behind these units"):
        prune(loaded, ToyTask(loaded, probe=16), off, tmp_path / "one", repair="means")
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("how", ["means", "least-squares"])
def test_a_repair_is_kept_only_if_it_helps(how: Any, tmp_path: Path) -> None:
    """Neurons that are nearly constant, and matter: their means stand in for them."""
    loaded = tiny(VIT)
    for layer in loaded.model.vit.layers:
        layer.mlp.fc1.bias.data[:3] += 8.0
        layer.mlp.fc2.weight.data[:, :3] *= 4
    units = Deactivation.of({NEURON: [(0, 0), (0, 1), (1, 1), (1, 2)]})
    info = prune(loaded, ToyTask(loaded, probe=64), units, tmp_path / "one", repair=how)
    assert info.repair is not None
    assert info.repair.how == how
    assert info.repair.kept == (info.repair.loss_after < info.repair.loss_before)
    assert info.reload_max_logit_difference <= 1e-4
    card = (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    assert ("folded into biases" in card) == (how == "means" and info.repair.kept)


def test_least_squares_let_a_twin_take_over(tmp_path: Path) -> None:
    """Two neurons that always say the same: one takes over from the other, and the loss is as it was."""
    loaded = tiny(VIT)
    for layer in loaded.model.vit.layers:
        for parameter in (layer.mlp.fc1.weight, layer.mlp.fc1.bias):
            parameter.data[1] = parameter.data[0]
        layer.mlp.fc2.weight.data *= 8
    off = Deactivation.of({NEURON: [(0, 1), (1, 1)]})
    info = prune(loaded, ToyTask(loaded, probe=64), off, tmp_path / "one", repair="least-squares")
    assert info.repair is not None
    intact = float(ToyTask(loaded, probe=64).losses(loaded, ToyTask(loaded, probe=64)._data["probe"][32:]).mean())
    assert abs(info.repair.loss_after - intact) < 0.05 * abs(info.repair.loss_before - intact)
    assert info.reload_max_logit_difference <= 1e-5
    with pytest.raises(ModelShapleyError, match="at least 16 probe examples"):
        prune(loaded, ToyTask(loaded, probe=8), off, tmp_path / "two", repair="least-squares")
    assert not (tmp_path / "two").exists()
