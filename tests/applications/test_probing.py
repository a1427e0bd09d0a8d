"""Probes and amplification beside random units, with activations and scaled weights computed independently."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from modelshapley.applications.probing.amplify import amplify
from modelshapley.applications.probing.features import features_of
from modelshapley.applications.probing.probe import STRENGTHS, probe
from modelshapley.applications.random_units import all_units, random_units
from modelshapley.cli.main import app
from modelshapley.errors import BadParameter, ModelShapleyError
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.tasks.builtin.digits import Digits
from modelshapley.tasks.builtin.world_capitals import WorldCapitals
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import LLAMA, ToyTask, tiny

NEURON, HEAD, LAYER = UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER
TASK = Digits()


def inputs_of(loaded: LoadedModel, path: str, pixels: torch.Tensor) -> torch.Tensor:
    """What a module of the transformers model receives: all pictures in one pass, by a plain hook."""
    seen: list[torch.Tensor] = []
    handle = loaded.model.get_submodule(path).register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with torch.no_grad():
        loaded.model(pixel_values=pixels)
    handle.remove()
    return seen[0]


def test_a_probe_is_a_ridge_classifier_on_the_units_activations(digits_vit: LoadedModel) -> None:
    """Neurons 1.3 and 2.7 and head 3.1, read off the inputs of fc2 and o_proj, averaged over positions."""
    units = Deactivation.of({NEURON: [(1, 3), (2, 7)], HEAD: [(3, 1)]})
    report = probe(digits_vit, TASK, units, limit=100, draws=3)
    tables, labels = [], []
    for examples in (TASK.select(digits_vit, Split.PROBE, 0, 100), TASK.select(digits_vit, Split.TEST, 0)):
        pixels = torch.stack([digit.pixels for digit in examples])
        columns = [
            inputs_of(digits_vit, f"vit.layers.{layer}.mlp.fc2", pixels)[..., [neuron]]
            for layer, neuron in ((1, 3), (2, 7))
        ]
        columns.append(inputs_of(digits_vit, "vit.layers.3.attention.o_proj", pixels)[..., 24:48])  # of width 24
        tables.append(torch.cat([column.mean(1) for column in columns], 1).double().numpy())
        labels.append(np.array([digit.label for digit in examples]))
    scaler = StandardScaler().fit(tables[0])
    reference = RidgeClassifierCV(alphas=STRENGTHS).fit(scaler.transform(tables[0]), labels[0])
    expected = float((reference.predict(scaler.transform(tables[1])) == labels[1]).mean())
    assert report.chosen.accuracy == pytest.approx(expected, abs=1 / 360)
    assert report.chosen.accuracy > report.majority.accuracy + 0.2
    assert report.everything.accuracy > report.chosen.accuracy
    assert (report.classes, report.trained_on, report.chosen.n, len(report.random)) == (10, 100, 360, 3)
    assert report.units == {NEURON: 2, HEAD: 1}
    mean = float(np.mean(report.random))
    assert report.chosen_minus_random == pytest.approx(report.chosen.accuracy - mean)
    assert report.random_interval[0] < report.chosen_minus_random < report.random_interval[1]


def test_features_of_layers_hold_what_both_halves_add(digits_vit: LoadedModel) -> None:
    examples = TASK.select(digits_vit, Split.PROBE, 0, 2)
    width: Any = digits_vit.model.config
    features = features_of(digits_vit, TASK, [LAYER], examples)
    assert features.of(Deactivation.of({LAYER: [2]})).shape == (2, 2 * width.hidden_size)
    assert not np.array_equal(*features.of(Deactivation.of({LAYER: [2]})))


@pytest.mark.slow  # runs the language model on 158 prompts
def test_multiple_choice_is_probed_before_any_choice(smollm2: LoadedModel) -> None:
    """The last token of the prompt: with the capital appended, a continent would be easy to read."""
    task, units = WorldCapitals(), Deactivation.of({HEAD: [(10, 3)]})
    (example,) = task.select(smollm2, Split.PROBE, 0, 1)
    features = features_of(smollm2, task, [HEAD], [example])
    seen: list[torch.Tensor] = []
    module = smollm2.model.get_submodule("model.layers.10.self_attn.o_proj")
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    first = task.continuations(smollm2, example)[0]
    with torch.no_grad():
        smollm2.model(input_ids=torch.tensor([list(first.tokens[: first.start])]))
    handle.remove()
    assert features.of(units)[0] == pytest.approx(seen[0][0, -1, 192:256].numpy(), abs=1e-5)
    report = probe(smollm2, task, units, draws=3)
    assert report.classes == 6  # continents
    assert report.chosen.n > 80


@pytest.mark.parametrize("factor", [1.3, 2.0])
def test_amplified_units_answer_as_with_scaled_weights(digits_vit: LoadedModel, factor: float) -> None:
    """Scaling a neuron's activation is scaling its column of fc2."""
    neurons = [(0, 1), (0, 20), (1, 5), (3, 11)] + [(2, number) for number in range(20)]
    report = amplify(digits_vit, TASK, Deactivation.of({NEURON: neurons}), [factor], draws=2)
    examples = TASK.select(digits_vit, Split.TEST, 0)
    pixels, labels = torch.stack([d.pixels for d in examples]), torch.tensor([d.label for d in examples])
    weights = {layer: digits_vit.model.get_submodule(f"vit.layers.{layer}.mlp.fc2").weight for layer in range(4)}
    before = {layer: weight.detach().clone() for layer, weight in weights.items()}
    with torch.no_grad():
        try:
            for layer, neuron in neurons:
                weights[layer][:, neuron] *= factor
            expected = float((digits_vit.model(pixel_values=pixels).logits.argmax(-1) == labels).double().mean())
        finally:
            for layer, weight in weights.items():
                weight.copy_(before[layer])
        intact = float((digits_vit.model(pixel_values=pixels).logits.argmax(-1) == labels).double().mean())
    (point,) = report.points
    assert report.intact.accuracy == pytest.approx(intact)
    assert point.chosen.accuracy == pytest.approx(expected)
    assert point.chosen.difference == pytest.approx(expected - intact)
    assert point.chosen_minus_random == pytest.approx(expected - float(np.mean(point.random)), abs=1e-6)
    assert len(point.random) == 2


def test_random_units_can_be_of_the_same_layers(digits_vit: LoadedModel) -> None:
    units = Deactivation.of({NEURON: [(0, 1), (0, 2), (3, 0)], HEAD: [(2, 1)]})
    draws = [random_units(digits_vit, units, seed, same_layers=True) for seed in range(20)]
    for drawn in draws:
        assert [layer for layer, _ in drawn.of_kind(NEURON)] == [0, 0, 3]
        assert [layer for layer, _ in drawn.of_kind(HEAD)] == [2]
    assert len({drawn.key() for drawn in draws}) > 10
    assert len(all_units(digits_vit, [HEAD])) == 16


def test_what_cannot_be_done_is_said_in_one_sentence(digits_vit: LoadedModel) -> None:
    text, some = tiny(LLAMA), Deactivation.of({NEURON: [(0, 1)]})
    with pytest.raises(ModelShapleyError, match="has none; name the column of the classes"):
        probe(text, ToyTask(text), some)
    labelled = ToyTask(text)
    labelled.class_of = lambda example: str(int(example[1]) % 2)  # type: ignore[method-assign]
    with pytest.raises(ModelShapleyError, match="before the model answers; 'toy' is of the kind 'language-modelling'"):
        probe(text, labelled, some)
    with pytest.raises(ModelShapleyError, match="all of one class"):
        probe(digits_vit, TASK, some, limit=1)
    with pytest.raises(ModelShapleyError, match="no unit to probe"):
        probe(digits_vit, TASK, Deactivation())
    with pytest.raises(ModelShapleyError, match="no unit to amplify"):
        amplify(digits_vit, TASK, Deactivation())
    for factor in (0.5, 2.1, float("nan")):
        with pytest.raises(BadParameter, match="goes from 1 to 2, not"):
            amplify(digits_vit, TASK, some, [factor])


def test_both_commands_print_a_report() -> None:
    common = ["demo:digits-vit", "--task", "digits", "--most", "head=0.2", "--draws", "2", "--limit", "60"]
    ran = CliRunner().invoke(app, ["probe", *common], catch_exceptions=False)
    assert "10 classes, read linearly from the activations of 60 probe examples" in ran.stdout
    assert "of 2 draws are as accurate" in ran.stdout
    ran = CliRunner().invoke(app, ["amplify", *common, "--factor", "1.5", "--json", "--same-layers"])
    report = json.loads(ran.stdout.strip().splitlines()[-1])
    assert [point["factor"] for point in report["points"]] == [1.5]
    assert report["units"] == {"head": 3}
