"""Scaling, holding and offsetting units equal changed weights, from kept states too, and leave no trace."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modelshapley.errors import BadTreatment, UnitOutOfRange
from modelshapley.evaluation.activations import Activations, activations_of
from modelshapley.evaluation.trials import all_answers, answers
from modelshapley.interventions.gates import hook, treated
from modelshapley.interventions.weights import oriented, scaled_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, Treatment, UnitKind
from tests.evaluation.test_activations import ATTENTION, MLP, QUERY, seen
from tests.support.toys import CONFIGS, ToyTask, tiny
from tests.support.trialling import Told, measured, some_off, states_of, untouched

UNITS: dict[str, dict[UnitKind, list[tuple[int, ...]]]] = {
    "neurons": {UnitKind.NEURON: [(0, 3), (1, 11), (1, 0)]},
    "heads": {UnitKind.HEAD: [(0, 1), (1, 3)]},
    "layer": {UnitKind.LAYER: [(1,)]},
    "rows": {UnitKind.ROW: [(0, 2), (1, 5)]},
    "mixed": {
        UnitKind.NEURON: [(0, 0), (0, 5)],
        UnitKind.HEAD: [(0, 2)],
        UnitKind.LAYER: [(1,)],
        UnitKind.ROW: [(0, 7)],
    },
}
MEAN, UP, DOWN = Treatment("mean"), Treatment("offset", 1.5), Treatment("offset", -3.0)


@pytest.fixture(params=["vit", "gpt2", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny(CONFIGS[request.param])


def logits(loaded: LoadedModel, model: nn.Module | None = None) -> Tensor:
    torch.manual_seed(3)
    inputs = torch.randn(4, 1, 8, 8) if loaded.anatomy.modality == "image" else torch.randint(0, 50, (4, 9))
    with torch.no_grad():
        found: Tensor = (model or loaded.model)(inputs).logits
    return found


# -- against changed weights ---------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.5, 1.7, 0.0])
@pytest.mark.parametrize("name", UNITS)
def test_scaling_equals_scaled_weights(loaded: LoadedModel, name: str, factor: float) -> None:
    chosen = Deactivation.of(UNITS[name], Treatment("scale", factor))
    intact = logits(loaded)
    with treated(loaded.model, loaded.anatomy, chosen):
        found = logits(loaded)
    with scaled_weights(loaded.model, loaded.anatomy, chosen):
        wanted = logits(loaded)
    assert not torch.allclose(found, intact, atol=1e-3)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(logits(loaded), intact)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_experts_are_scaled(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    chosen = Deactivation.of({UnitKind.EXPERT: [(0, 1), (0, 2)]}, Treatment("scale", 0.4))
    with treated(loaded.model, loaded.anatomy, chosen):
        found = logits(loaded)
    with scaled_weights(loaded.model, loaded.anatomy, chosen):
        wanted = logits(loaded)
    assert not torch.allclose(found, logits(loaded), atol=1e-3)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def by_hand(loaded: LoadedModel, task: ToyTask, chosen: dict[UnitKind, list[tuple[int, ...]]], how: Treatment) -> Any:
    """A copy whose weights and biases were changed here: a unit's mean or offset becomes part of a bias."""
    model, family = copy.deepcopy(loaded.model), loaded.anatomy.model_type
    width = loaded.anatomy.layers[0].attentions[0].width

    def put(path: str, side: str, where: list[int]) -> None:
        z = seen(loaded, path, side, task)[:, where]
        shift = torch.tensor(z.mean(0) if how == MEAN else how.value * z.std(0)).float()
        module: Any = model.get_submodule(path)
        weight = oriented(module)
        if module.bias is None:
            module.bias = nn.Parameter(torch.zeros(len(weight)), requires_grad=False)
        if side == "input":
            module.bias.data += weight[:, where] @ shift
            if how == MEAN:
                weight[:, where] = 0
            return
        if how == MEAN:
            weight[where] = 0
            module.bias.data[where] = 0
        module.bias.data[where] += shift

    for layer, neuron in chosen.get(UnitKind.NEURON, []):
        put(MLP[family].format(layer), "input", [neuron])
    for layer, head in chosen.get(UnitKind.HEAD, []):
        put(ATTENTION[family].format(layer), "input", list(range(head * width, (head + 1) * width)))
    for layer, row in chosen.get(UnitKind.ROW, []):
        put(QUERY[family].format(layer), "output", [row])
    for (layer,) in chosen.get(UnitKind.LAYER, []):
        for path in (ATTENTION, MLP):
            module = model.get_submodule(path[family].format(layer))
            put(path[family].format(layer), "output", list(range(len(oriented(module)))))
    return model


@pytest.mark.parametrize("how", [MEAN, UP, DOWN], ids=str)
@pytest.mark.parametrize("name", UNITS)
def test_means_and_offsets_equal_changed_weights_and_biases(loaded: LoadedModel, name: str, how: Treatment) -> None:
    task = ToyTask(loaded)
    activations, intact = activations_of(loaded, task), logits(loaded)
    with treated(loaded.model, loaded.anatomy, Deactivation.of(UNITS[name], how), activations):
        found = logits(loaded)
    assert not torch.allclose(found, intact, atol=1e-3)
    torch.testing.assert_close(found, logits(loaded, by_hand(loaded, task, UNITS[name], how)), atol=1e-4, rtol=1e-4)
    assert torch.equal(logits(loaded), intact)
    assert untouched(loaded)


@pytest.mark.parametrize("how", [Treatment("scale", 1.0), Treatment("offset", 0.0)], ids=str)
def test_what_changes_nothing_is_equal_to_the_last_bit(loaded: LoadedModel, how: Treatment) -> None:
    intact, activations = logits(loaded), activations_of(loaded, ToyTask(loaded))
    for chosen in (
        Deactivation.of(UNITS["mixed"], how),
        Deactivation(treatment=how),
        Deactivation(treatment=MEAN),
    ):
        with treated(loaded.model, loaded.anatomy, chosen, activations):
            assert torch.equal(logits(loaded), intact)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in {"t5", "t5 with gates", "bart"}])
@pytest.mark.parametrize("how", [MEAN, UP], ids=str)
def test_every_family_can_be_held_and_offset(name: str, how: Treatment) -> None:
    """Channels of the chosen unit take the value, and no other channel does, wherever a family keeps its units."""
    loaded = tiny(CONFIGS[name])
    task = ToyTask(loaded)
    activations = activations_of(loaded, task)
    for kind in loaded.anatomy.shapes.kinds:
        if kind is UnitKind.EXPERT or not loaded.anatomy.shapes.counts[kind][0]:
            continue
        unit = (0,) if kind is UnitKind.LAYER else (0, 1)
        intact, changed = (
            shown(loaded, task, kind, Deactivation.of({kind: units}, how), activations) for units in ([], [unit])
        )
        site = next(s for s in loaded.anatomy.sites(kind, 0) if s.first <= unit[-1] < s.first + s.count)
        mine = channels_of(site, unit[-1], intact.shape[-1])
        usual = activations.at_site(site)
        wanted = usual.mean.float() if how == MEAN else intact + usual.deviation.float() * how.value
        torch.testing.assert_close(changed[..., mine], wanted.expand_as(intact)[..., mine])
        assert torch.equal(changed[..., ~mine], intact[..., ~mine])


def channels_of(site: Any, unit: int, width: int) -> Tensor:
    order = [c for start, stop in site.spans for c in range(start, stop)] or list(range(width))
    size, place = site.width or width, unit - site.first
    found = torch.zeros(width, dtype=torch.bool)
    found[order[place * size : (place + 1) * size] if site.width else order] = True
    return found


def shown(loaded: LoadedModel, task: ToyTask, kind: UnitKind, chosen: Deactivation, activations: Activations) -> Tensor:
    """What goes on from the first site of layer 0 that has the second unit, seen behind the treatment."""
    number = 0 if kind is UnitKind.LAYER else 1
    site = next(s for s in loaded.anatomy.sites(kind, 0) if s.first <= number < s.first + s.count)
    found: list[Tensor] = []

    def note(z: Tensor, _: Tensor | None) -> Tensor:
        found.append(z.clone())
        return z

    with torch.no_grad(), treated(loaded.model, loaded.anatomy, chosen, activations):
        handle = hook(loaded.model, site, note)
        try:
            task.losses(loaded, task.examples(Split.PROBE)[:3])
        finally:
            handle.remove()
    return found[0]


# -- in trials -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [Treatment("scale", 1.6), MEAN, UP, DOWN], ids=str)
def test_trials_from_kept_states_equal_full_ones(loaded: LoadedModel, how: Treatment) -> None:
    task, rng = Told(loaded), np.random.default_rng(4)
    activations, states = activations_of(loaded, task), states_of(loaded, task)
    assert states.refused is None
    all_answers(loaded, task, Deactivation(), states=states)
    for number in range(8):
        chosen = Deactivation(some_off(loaded, rng, number % loaded.anatomy.shapes.layers).units, how)
        found, told = measured(loaded, task, chosen, states, activations=activations)
        wanted, truth = measured(loaded, task, chosen, activations=activations)
        assert (found == wanted).all()
        torch.testing.assert_close(told, truth, atol=1e-5, rtol=0)
    assert states.refused is None
    assert untouched(loaded)


def test_what_cannot_be_done_is_refused(loaded: LoadedModel) -> None:
    task, chosen = ToyTask(loaded), Deactivation.of({UnitKind.HEAD: [(0, 1)]}, MEAN)
    with pytest.raises(BadTreatment, match=r"'mean' needs the activations .* measure them first"):
        next(answers(loaded, task, chosen))
    with (
        pytest.raises(UnitOutOfRange, match="head"),
        treated(
            loaded.model,
            loaded.anatomy,
            Deactivation.of({UnitKind.HEAD: [(0, 4)]}, MEAN),
            activations_of(loaded, task),
        ),
    ):
        pass
    assert untouched(loaded)


@pytest.mark.parametrize("how", [MEAN, UP], ids=str)
def test_experts_have_no_mean(how: Treatment) -> None:
    loaded = tiny(CONFIGS["mixtral"])
    chosen = Deactivation.of({UnitKind.HEAD: [(0, 1)], UnitKind.EXPERT: [(0, 1)]}, how)
    with pytest.raises(BadTreatment, match=f"by '{how.how}'.*or scale them"):
        chosen.check(loaded.anatomy.shapes)


@pytest.mark.parametrize("how", [Treatment("scale", 0.5), MEAN, UP], ids=str)
def test_hooks_vanish_after_an_error(loaded: LoadedModel, how: Treatment) -> None:
    activations, intact = activations_of(loaded, ToyTask(loaded)), logits(loaded)
    with (
        pytest.raises(RuntimeError, match="midway"),
        treated(loaded.model, loaded.anatomy, Deactivation.of(UNITS["mixed"], how), activations),
    ):
        raise RuntimeError("midway")
    assert untouched(loaded)
    assert torch.equal(logits(loaded), intact)


def test_weights_behind_a_norm_are_not_scaled() -> None:
    loaded = tiny(CONFIGS["gemma2"])
    half = Deactivation.of({UnitKind.LAYER: [(0,)]}, Treatment("scale", 0.5))
    with pytest.raises(ValueError, match="need not be linear"), scaled_weights(loaded.model, loaded.anatomy, half):
        pass
    with (
        pytest.raises(ValueError, match="at their mean"),
        scaled_weights(loaded.model, loaded.anatomy, Deactivation.of(UNITS["heads"], MEAN)),
    ):
        pass
