"""Every architecture of the table: its units are where we say, and its gate derivatives are true."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from modelshapley.architectures.anatomy import Experts
from modelshapley.architectures.families import FAMILIES, anatomy_of
from modelshapley.errors import UnsupportedModel
from modelshapley.interventions.gates import gated, treated
from modelshapley.interventions.verify import verify
from modelshapley.methods import load_method
from modelshapley.models.catalog import inspect_folder
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import observed
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import CONFIGS, ToyTask, tiny

SEED = np.random.default_rng(0)


@pytest.fixture(params=CONFIGS, scope="module")
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    loaded = tiny(CONFIGS[request.param])
    loaded.model.double()
    return loaded


def task_of(loaded: LoadedModel) -> ToyTask:
    task = ToyTask(loaded, probe=4)
    if loaded.anatomy.modality == "image":
        task._data = {split: [(x.double(), y) for x, y in rows] for split, rows in task._data.items()}
    return task


def derivative(losses: Callable[[float], torch.Tensor], step: float) -> torch.Tensor:
    """Five-point difference."""
    return (losses(-2 * step) - 8 * losses(-step) + 8 * losses(step) - losses(2 * step)) / (12 * step)


def test_every_family_is_tested() -> None:
    assert {config.model_type for config in CONFIGS.values()} == set(FAMILIES)


def test_gating_equals_zeroing_weights(loaded: LoadedModel) -> None:
    before = copy.deepcopy(loaded.model.state_dict())
    verify(loaded.model, loaded.anatomy)
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loaded.model.modules())


def test_shapes_are_those_of_the_model(loaded: LoadedModel) -> None:
    """Counted here from the live modules: matrices of a block by their rows, heads by the config's own numbers."""
    shapes = loaded.anatomy.shapes
    for number, layer in enumerate(loaded.anatomy.layers):
        block = loaded.model.get_submodule(layer.block)
        linear = [m for name, m in block.named_modules() if isinstance(m, nn.Linear) and name[-4:] != "gate"]
        convolutions = [m for m in block.modules() if isinstance(m, transformers.pytorch_utils.Conv1D)]
        rows = sum(m.out_features for m in linear) + sum(m.nf for m in convolutions)
        assert shapes.counts[UnitKind.ROW][number] == rows
        assert sum(loaded.anatomy.layout.projections[number].values()) == rows
    assert shapes.layers > 0
    assert len({layer.block for layer in loaded.anatomy.layers}) == shapes.layers


def test_gate_derivatives_equal_finite_differences(loaded: LoadedModel) -> None:
    task, anatomy = task_of(loaded), loaded.anatomy
    examples = task.examples(Split.PROBE)
    with observed(loaded.model, anatomy, anatomy.shapes.kinds) as observer:
        task.losses(loaded, examples).sum().backward()
        signals = observer.take()
    for kind in anatomy.shapes.kinds:
        shape, there = anatomy.shapes.of(kind), anatomy.shapes.is_unit(kind)
        c = signals[kind].gate.reshape(len(examples), *shape).double()
        assert torch.all(c[:, ~torch.from_numpy(there)] == 0)
        assert c.abs().max() > 1e-4
        units = np.argwhere(there)
        # Those at both ends, the one with the largest derivative, and some others.
        largest = np.unravel_index(int(c.abs().amax(0).argmax()), shape)
        chosen = [units[0], units[-1], largest, *SEED.permutation(units)[:4]]
        for unit in map(tuple, chosen):

            def losses(change: float, kind: UnitKind = kind, unit: tuple[int, ...] = unit) -> torch.Tensor:
                factors = np.ones(anatomy.shapes.of(kind))
                factors[unit] += change
                with torch.no_grad(), gated(loaded.model, anatomy, {kind: factors}):
                    return task.losses(loaded, examples)

            found = c[(slice(None), *unit)]
            wide, narrow = (derivative(losses, step).double() for step in (0.02, 0.002))
            # Many norms round to single precision in any dtype, which wants a wide step; a ReLU's kink or another
            # choice of experts wants a narrow one.
            close = [torch.allclose(found, other, atol=2e-4, rtol=5e-3) for other in (wide, narrow)]
            assert any(close), (kind, unit, found, wide, narrow)


def test_layers_told_by_their_heads_and_neurons_are_those_told_by_what_they_add(loaded: LoadedModel) -> None:
    task, anatomy = task_of(loaded), loaded.anatomy
    examples = task.examples(Split.PROBE)
    kinds = [kind for kind in (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER) if anatomy.shapes.count(kind)]
    found = []
    for seen, parts in ((kinds, ["offset"]), ([UnitKind.LAYER], ["offset"])):
        with observed(loaded.model, anatomy, seen, parts) as observer:
            task.losses(loaded, examples).sum().backward()
            found.append(observer.take()[UnitKind.LAYER])
    for part in ("gate", "offset"):
        told, direct = (getattr(signals, part) for signals in found)
        assert direct.abs().max() > 1e-4
        torch.testing.assert_close(told, direct, atol=1e-5 * float(direct.abs().max()), rtol=1e-4)


def test_scoring_gives_a_score_to_every_unit_and_nan_elsewhere() -> None:
    for name in ("swin", "t5", "qwen3_moe"):
        loaded = tiny(CONFIGS[name])
        methods = [load_method(m) for m in ("two-sided", "path-shapley,points=2", "magnitude", "wanda", "random")]
        kinds = loaded.anatomy.shapes.kinds
        maps = score(Scoring(loaded, ToyTask(loaded, probe=4), methods, kinds, limit=4))
        for importance in maps.values():
            for kind in kinds:
                there = loaded.anatomy.shapes.is_unit(kind)
                assert np.array_equal(np.isfinite(importance.scores[kind]), there), (name, importance.method, kind)
        assert loaded.anatomy.shapes.ragged(), name
        assert np.array_equal(
            np.isnan(maps["two-sided"].with_harm(1.0).scores[UnitKind.HEAD]),
            ~loaded.anatomy.shapes.is_unit(UnitKind.HEAD),
        )


@pytest.mark.parametrize("name", ["bert", "gemma2", "gpt2", "t5", "swin"])
def test_scores_of_a_batch_are_those_of_its_examples(name: str) -> None:
    """Windows, sides and routing must not mix examples up."""
    loaded = tiny(CONFIGS[name])
    loaded.model.double()
    task = task_of(loaded)
    examples = task.examples(Split.PROBE)

    def gate(batch: Sequence[Any]) -> dict[UnitKind, torch.Tensor]:
        with observed(loaded.model, loaded.anatomy, loaded.anatomy.shapes.kinds) as observer:
            task.losses(loaded, batch).sum().backward()
            return {kind: signals.gate for kind, signals in observer.take().items()}

    together = gate(examples)
    for number, example in enumerate(examples):
        for kind, alone in gate([example]).items():
            torch.testing.assert_close(together[kind][number], alone[0], atol=1e-6, rtol=1e-4)


def test_gates_of_each_example_are_its_own() -> None:
    """Path and coalition methods give every example other gates: also through experts and windows."""
    for name, kind in (("mixtral", UnitKind.EXPERT), ("swin", UnitKind.HEAD), ("gpt_neox", UnitKind.ROW)):
        loaded = tiny(CONFIGS[name])
        loaded.model.double()
        task, table = task_of(loaded), loaded.anatomy.shapes.table(kind)
        examples = task.examples(Split.PROBE)
        gates = torch.rand((len(examples), *table), generator=torch.Generator().manual_seed(5)).double()
        with observed(loaded.model, loaded.anatomy, [kind], (), {kind: gates}), torch.no_grad():
            together = task.losses(loaded, examples)
        for number, example in enumerate(examples):
            factors = gates[number].numpy().reshape(loaded.anatomy.shapes.of(kind))
            with gated(loaded.model, loaded.anatomy, {kind: factors}), torch.no_grad():
                torch.testing.assert_close(task.losses(loaded, [example])[0], together[number])


def test_an_expert_that_is_off_adds_nothing() -> None:
    loaded = tiny(CONFIGS["mixtral"])
    experts = loaded.anatomy.layers[1].mlp
    assert isinstance(experts, Experts)
    module = loaded.model.get_submodule(experts.path)
    task = ToyTask(loaded)
    with torch.no_grad(), treated(loaded.model, loaded.anatomy, Deactivation.of({UnitKind.EXPERT: [(1, 2)]})):
        off = task.losses(loaded, task.examples(Split.PROBE))
    module.down_proj.data[2] = 0
    with torch.no_grad():
        torch.testing.assert_close(task.losses(loaded, task.examples(Split.PROBE)), off)


@pytest.mark.parametrize("name", ["bert", "gpt2", "swin", "t5", "mixtral"])
def test_a_block_that_adds_something_else_is_refused(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    last = loaded.model.get_submodule(loaded.anatomy.layers[-1].block)

    def add(_: nn.Module, __: object, output: object) -> object:
        return (output[0] + 0.1, *output[1:]) if isinstance(output, tuple) else output + 0.1

    last.register_forward_hook(add)
    with pytest.raises(UnsupportedModel, match="adds something"):
        verify(loaded.model, loaded.anatomy)


def test_rows_of_a_fused_map_in_the_wrong_order_are_refused() -> None:
    """A bypass in one row only: the rows' own check finds it."""
    loaded = tiny(CONFIGS["phi3"])
    qkv = loaded.model.model.layers[1].self_attn.qkv_proj
    qkv.register_forward_hook(lambda _, __, output: output.roll(1, -1))
    with pytest.raises(UnsupportedModel, match="not the same as zeroing"):
        verify(loaded.model, loaded.anatomy)


# -- models outside the table -------------------------------------------------------------------

OUTSIDE = {
    "opt": transformers.OPTConfig(
        vocab_size=50,
        hidden_size=24,
        ffn_dim=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        word_embed_proj_dim=24,
    ),
    "stablelm": transformers.StableLmConfig(**{**CONFIGS["qwen2"].to_dict(), "model_type": "stablelm"}),
    "olmo2": transformers.Olmo2Config(
        vocab_size=50, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4
    ),
}


def saved(config: transformers.PretrainedConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["opt", "stablelm"])
def test_a_model_outside_the_table_is_tried_by_its_structure(name: str, tmp_path: Path) -> None:
    anatomy = inspect_folder("local:x", saved(OUTSIDE[name], tmp_path)).anatomy
    assert anatomy.model_type == name
    assert anatomy.shapes.as_dict() == {UnitKind.NEURON: [2, 20], UnitKind.HEAD: [2, 4], UnitKind.LAYER: [2]}
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    verify(model, anatomy)


def test_a_structure_that_fails_verification_is_refused(tmp_path: Path) -> None:
    """OLMo 2 normalises what it adds: by its names it looks like any other model, and only running it tells."""
    folder = inspect_folder("local:olmo", saved(OUTSIDE["olmo2"], tmp_path))
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    try:
        verify(model, folder.anatomy)
    except UnsupportedModel:
        return
    # Where it passes, its layers must still be right: the gate derivative of a layer off is what tells.
    loaded = LoadedModel("x", "0" * 64, folder.anatomy, model.requires_grad_(False), None, torch.device("cpu"))
    task = ToyTask(loaded)
    off = Deactivation.of({UnitKind.LAYER: [(0,), (1,)]})
    with torch.no_grad(), treated(model, folder.anatomy, off):
        assert torch.isfinite(task.losses(loaded, task.examples(Split.PROBE))).all()


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "no numbered list of blocks"),
        ({"h.0.a.weight": (4, 4), "h.1.b.weight": (4, 4)}, "not all alike"),
        ({"h.0.attn.q.weight": (4, 4), "h.0.mlp.fc2.weight": (4, 8)}, "attention output: nothing fits"),
        ({"h.0.attn.o.weight": (4, 4), "h.0.attn.c_proj.weight": (4, 4)}, "several fit"),
        ({"h.0.attn.o.weight": (4, 5), "h.0.mlp.fc2.weight": (4, 8)}, "are not a multiple of 2 heads"),
    ],
)
def test_what_the_structural_rule_cannot_find_is_said(tensors: dict[str, Any], reason: str) -> None:
    config = {"model_type": "novel", "hidden_size": 4, "num_attention_heads": 2}
    with pytest.raises(UnsupportedModel, match=rf"'novel' are outside the table.*{reason}"):
        anatomy_of(config, tensors)


def test_a_headless_checkpoint_is_refused_with_what_would_do(tmp_path: Path) -> None:
    config = CONFIGS["bert"].to_dict() | {"architectures": ["BertModel"]}
    with pytest.raises(UnsupportedModel, match=r"BertModel cannot.*ForMaskedLM, ForSequenceClassification"):
        anatomy_of(config)


def test_a_saved_checkpoint_is_loaded_whole(tmp_path: Path) -> None:
    """From a folder: header read, class chosen by its own name, weights verified."""
    torch.manual_seed(0)
    model = transformers.SwinForImageClassification(CONFIGS["swin"])
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["SwinForImageClassification"]
    loaded = load(inspect_folder("local:swin", tmp_path))
    assert loaded.anatomy.shapes.ragged() == {
        UnitKind.NEURON: [12, 24, 24],
        UnitKind.HEAD: [2, 4, 4],
        UnitKind.ROW: [8 * 5 + 12, 16 * 5 + 24, 16 * 5 + 24],
    }
