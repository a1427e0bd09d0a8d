"""Targeted fine-tuning: gradients of masked training, nothing else moves, and checkpoints go on exactly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelshapley import score
from modelshapley.applications.finetuning.finetune import finetune, gradient_share
from modelshapley.applications.finetuning.parts import parts_of
from modelshapley.applications.finetuning.submatrix import named, training, write_all
from modelshapley.applications.finetuning.trainer import Trainer, rate_at
from modelshapley.applications.random_units import random_units
from modelshapley.applications.reproducing.finetuning import markdown, reproduce_finetuning
from modelshapley.contracts.applications.finetuning import PAPER, FinetuneSettings
from modelshapley.errors import ModelShapleyError, NotFinite, UnsupportedModel
from modelshapley.interventions.weights import oriented
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny

NEURON, HEAD = UnitKind.NEURON, UnitKind.HEAD
FAMILIES = [
    "vit",
    "dinov2 with gates",
    "swin",
    "bert",
    "distilbert",
    "gpt2",
    "gpt_neox",
    "llama",
    "qwen2",
    "gemma2",
    "phi3",
]


def some_units(loaded: LoadedModel) -> Deactivation:
    return Deactivation.of({NEURON: [(0, 1), (0, 7), (1, 0)], HEAD: [(0, 1), (1, 0)]})


def a_layer_and_rows(loaded: LoadedModel) -> Deactivation:
    """A layer, and the first row of the first map and the last row of the last map of another one."""
    last = loaded.anatomy.layers[1].count(UnitKind.ROW) - 1
    return Deactivation.of({UnitKind.LAYER: [0], UnitKind.ROW: [(1, 0), (1, last), (0, 2)]})


def test_a_layer_has_all_its_linear_maps_and_a_row_is_one_output() -> None:
    loaded = tiny(LLAMA)
    parts = {part.path: part for part in parts_of(loaded.anatomy, a_layer_and_rows(loaded))}
    for path, part in parts.items():
        outputs = loaded.model.get_submodule(path).get_parameter("weight").shape[0]
        rows = {"model.layers.1.self_attn.q_proj": (0,), "model.layers.1.mlp.down_proj": (outputs - 1,)}
        assert part.index == rows.get(path, tuple(range(outputs))), path
    assert sum(".layers.0." in path for path in parts) == 7


@pytest.mark.parametrize("choose", [some_units, a_layer_and_rows])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_those_of_masked_training(name: str, choose: Callable[[LoadedModel], Deactivation]) -> None:
    """The reference: every weight trains, and the gradients of the rows and columns are read off."""
    loaded = tiny(CONFIGS[name])
    task, units = ToyTask(loaded, probe=6), choose(loaded)
    examples = task.examples(Split.PROBE)
    with training(loaded.model, loaded.anatomy, units) as parts:
        task.losses(loaded, examples).mean().backward()
        ours = {key: p.grad.clone() for part in parts for key, p in part.parameters().items()}
    loaded.model.requires_grad_(True)
    task.losses(loaded, examples).mean().backward()
    assert len(ours) >= 4
    for part in parts_of(loaded.anatomy, units):
        module = loaded.model.get_submodule(part.path)
        whole = module.weight.grad if oriented(module).shape == module.weight.shape else module.weight.grad.T
        if name == "gpt2":
            whole = module.weight.grad.T
        index = torch.tensor(part.index)
        expected = whole[index] if part.side == "rows" else whole[:, index]
        assert (ours[f"{part.path}.{part.side}.weight"] - expected).abs().max() <= 1e-6
        assert expected.abs().max() > 0
        if f"{part.path}.{part.side}.bias" in ours:
            assert (ours[f"{part.path}.{part.side}.bias"] - module.bias.grad[index]).abs().max() <= 1e-6


def test_steps_are_those_of_masked_training() -> None:
    """Three steps of AdamW on the sub-matrices, and on whole matrices whose other gradients are zeroed."""
    settings = FinetuneSettings(steps=3, batch=4, rate=1e-2, clip=1e9)
    units = Deactivation.of({NEURON: [(0, 1), (2, 3)]})
    ours, reference = tiny(LLAMA), tiny(LLAMA)
    task = ToyTask(ours, probe=12)
    with training(ours.model, ours.anatomy, units) as parts:
        parameters = named(parts)
        written = partial(write_all, parts)
        Trainer(ours, task, task.examples(Split.PROBE), parameters, settings, 0, written=written).run()
    masks = {part.path: part for part in parts_of(reference.anatomy, units)}
    whole = {path: reference.model.get_submodule(path).get_parameter("weight") for path in masks}
    reference.model.requires_grad_(True)
    optimiser = torch.optim.AdamW(whole.values(), weight_decay=0.0)
    order = np.random.default_rng([0, 0]).permutation(12)
    for step in range(3):
        optimiser.param_groups[0]["lr"] = rate_at(step, settings)
        batch = [task.examples(Split.PROBE)[i] for i in order[4 * step : 4 * step + 4]]
        task.losses(reference, batch).mean().backward()
        for path, weight in whole.items():
            keep = torch.zeros_like(weight)
            index = torch.tensor(masks[path].index)
            keep[index if masks[path].side == "rows" else (slice(None), index)] = 1
            weight.grad *= keep
        optimiser.step()
        optimiser.zero_grad()
    state, expected = ours.model.state_dict(), reference.model.state_dict()
    assert max(float((state[key] - expected[key]).abs().max()) for key in state) <= 1e-5
    assert max(float((state[key] - tiny(LLAMA).model.state_dict()[key]).abs().max()) for key in state) > 1e-3


def test_a_checkpoint_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = FinetuneSettings(steps=6, batch=4, rate=1e-2, patience=5, measure_every=1)
    results = []
    for name, stops in (("straight", [6]), ("interrupted", [4, 6])):
        for stop in stops:
            loaded = tiny(VIT)  # as after a kill: nothing is left but the file
            task = ToyTask(loaded, probe=24)
            with training(loaded.model, loaded.anatomy, some_units(loaded)) as parts:
                parameters = named(parts)
                probe, written = task.examples(Split.PROBE), partial(write_all, parts)
                trainer = Trainer(loaded, task, probe, parameters, settings, 3, written=written)
                file = tmp_path / name
                if file.exists():
                    trainer.load(file)
                while trainer.step < stop:
                    trainer._one_step()
                trainer.save(file)
        results.append(loaded.model.state_dict())
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])
    other = Trainer(loaded, task, task.examples(Split.PROBE), parameters, PAPER, 3)
    with pytest.raises(ModelShapleyError, match="checkpoint of other settings"):
        other.load(tmp_path / "straight")


@pytest.mark.slow  # trains with all its controls, and loads the result in a fresh process
def test_the_whole_walk_saves_what_was_measured(tmp_path: Path, monkeypatch: Any) -> None:
    loaded = tiny(VIT)
    task = ToyTask(loaded, probe=40)
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    settings = FinetuneSettings(steps=12, batch=8, rate=1e-2)
    steps: list[tuple[str, int, int]] = []
    info = finetune(
        loaded, task, some_units(loaded), tmp_path / "tuned", settings=settings,
        on_step=lambda *step: steps.append(step),
    )  # fmt: skip
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert [arm.name for arm in info.arms] == ["targeted", "random", "lora", "full"]
    assert [step[0] for step in steps if step[1] == 12] == ["targeted", "random", "lora", "full"]
    targeted, random, _, full = info.arms
    assert targeted.trained < full.trained == sum(p.numel() for p in loaded.model.parameters())
    assert random.loss - targeted.loss == pytest.approx(random.loss_minus_targeted)
    saved = transformers.ViTForImageClassification.from_pretrained(tmp_path / "tuned").eval()
    x, y = (torch.stack(part) for part in zip(*task.examples(Split.TEST), strict=True))
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(saved(x).logits, y)
    assert float(loss) == pytest.approx(targeted.loss, abs=1e-5)
    changed = [key for key, value in saved.state_dict().items() if not torch.equal(value, before[key])]
    assert changed
    assert all("mlp" in key or "attention" in key for key in changed)
    assert 0 < info.gradient_share < 1


@pytest.mark.slow  # trains once for each method
def test_the_papers_table_trains_what_each_method_chooses(tmp_path: Path) -> None:
    loaded = tiny(VIT)
    task = ToyTask(loaded, probe=24)
    settings = FinetuneSettings(steps=4, batch=8, rate=1e-2)
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    result = reproduce_finetuning(
        loaded, task, ["random", "two-sided"], share=0.2, settings=settings, controls=["full"]
    )
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())
    assert [line.method for line in result.lines] == ["unmodified", "random", "two-sided", "full"]
    units = score(loaded, task, "two-sided", units=["neuron"]).most("neuron", 0.2)
    assert len(units) == result.units_trained
    alone = finetune(loaded, task, units, tmp_path / "tuned", settings=settings, controls=["full"])
    losses = [line.evaluation.loss for line in result.lines]
    assert losses[2:] == pytest.approx([arm.loss for arm in alone.arms])
    assert losses[0] == pytest.approx(alone.parent_loss)
    assert list(result.trained[2:]) == [arm.trained for arm in alone.arms]
    table = markdown(result, "modelshapley reproduce finetuning").splitlines()
    (row,) = [line for line in table if line.startswith("| `two-sided`")]
    assert f"| {alone.arms[0].trained:,} |" in row
    assert f"| {alone.arms[0].loss:.3f} ±" in row
    with pytest.raises(ModelShapleyError, match="from above 0 to 1, not 2"):
        reproduce_finetuning(loaded, task, ["random"], share=2)


def test_the_share_of_the_gradient_sums_to_one() -> None:
    loaded = tiny(LLAMA)
    task = ToyTask(loaded)
    examples = task.examples(Split.PROBE)
    half = Deactivation.of({NEURON: [(layer, i) for layer in range(3) for i in range(10)]})
    rest = Deactivation.of({NEURON: [(layer, i) for layer in range(3) for i in range(10, 20)]})
    shares = [gradient_share(loaded, task, part, examples) for part in (half, rest)]
    assert sum(shares) == pytest.approx(1)
    drawn = random_units(loaded, half, 0)
    assert len(drawn.of_kind(NEURON)) == 30
    assert drawn != half


def test_bad_input_is_refused(tmp_path: Path) -> None:
    loaded = tiny(VIT)
    task = ToyTask(loaded)
    with pytest.raises(UnsupportedModel, match="Layers with experts"):
        parts_of(tiny(CONFIGS["mixtral"]).anatomy, Deactivation.of({UnitKind.LAYER: [0]}))
    with pytest.raises(UnsupportedModel, match=r"rows of .*fc2 and others its columns"):
        parts_of(loaded.anatomy, Deactivation.of({NEURON: [(0, 0)], UnitKind.LAYER: [0]}))
    with pytest.raises(ModelShapleyError, match="no units to train"):
        finetune(loaded, task, Deactivation(), tmp_path / "a")
    with pytest.raises(UnsupportedModel, match="cross-attention"):
        parts_of(tiny(CONFIGS["bart"]).anatomy, Deactivation.of({HEAD: [(2, 0)]}))
    loaded.model.vit.layers[0].mlp.fc1.weight.data[0, 0] = float("nan")
    with training(loaded.model, loaded.anatomy, some_units(loaded)) as parts:
        parameters = named(parts)
        with pytest.raises(NotFinite, match="gradient of step 1"):
            Trainer(loaded, task, task.examples(Split.PROBE), parameters, FinetuneSettings(), 0).run()
    assert not (tmp_path / "a").exists()


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    settings = FinetuneSettings(steps=10, rate=1.0, warmup=0.2)
    assert [round(rate_at(step, settings), 3) for step in (0, 1, 2, 9)] == [0.5, 1.0, 1.0, 0.125]


@pytest.mark.slow
def test_finetune_from_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelshapley.cli", "finetune", "demo:digits-vit", "--task", "digits"]
    options = ["--train", "neuron=0.1", "--steps", "2", "--limit", "32", "--control", "random", "--data", str(tmp_path)]
    out = ["--out", str(tmp_path / "tuned"), "--checkpoints", str(tmp_path / "checkpoints")]
    printed = subprocess.run([*command, *options, *out], capture_output=True, text=True, check=True).stdout
    assert "of the squared gradient lies on the chosen units" in printed
    assert [line.partition(":")[0] for line in printed.splitlines()[-2:]] == ["targeted", "random"]
    assert (tmp_path / "tuned" / "modelshapley.json").exists()
