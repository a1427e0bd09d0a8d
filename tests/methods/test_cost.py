"""What scoring costs, told before it is done, and what it takes when it is."""

from __future__ import annotations

import json

import pytest

from modelshapley import load_task
from modelshapley.architectures.anatomy import Anatomy
from modelshapley.architectures.families import anatomy_of
from modelshapley.methods import load_method
from modelshapley.methods.cost import Cost, cost_of
from modelshapley.models.catalog import ASSETS, inspect_folder
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.footprint import activation_bytes
from modelshapley.scoring.job import Scoring, accumulate
from modelshapley.tasks import TASKS
from modelshapley.units import UnitKind

KINDS = {UnitKind.NEURON: 160, UnitKind.HEAD: 16, UnitKind.LAYER: 4}
HEADS = {UnitKind.HEAD: 16}


@pytest.mark.parametrize(
    ("methods", "counts", "cost"),
    [
        (["two-sided"], KINDS, Cost(1, 0)),
        (["two-sided", "mean-abs", "fisher-diagonal"], KINDS, Cost(1, 0)),
        (["random"], KINDS, Cost(0, 0)),
        (["path-shapley"], KINDS, Cost(24, 30)),
        (["path-shapley,points=2", "mean-abs"], HEADS, Cost(3, 10)),
        (["coalition-shapley,passes=4"], KINDS, Cost(12, 0)),
        (["permutation-shapley,pairs=3"], HEADS, Cost(0, 96)),
        (["ablation-regression"], KINDS, Cost(0, 192)),
    ],
)
def test_passes_by_method(methods: list[str], counts: dict[UnitKind, int], cost: Cost) -> None:
    assert cost_of(methods, counts) == cost


@pytest.mark.parametrize(
    "methods",
    [["mean-abs", "two-sided"], ["path-shapley,points=3", "mean-abs"], ["coalition-shapley,passes=4"], ["random"]],
)
def test_a_run_makes_as_many_passes_as_it_was_said_to(
    digits_vit: LoadedModel, methods: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = Scoring.signals

    def counted(self: Scoring, batch: list[object], *rest: object) -> object:
        made.append(len(batch))
        return real(self, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Scoring, "signals", counted)
    kinds = [UnitKind.HEAD, UnitKind.LAYER]
    accumulate(Scoring(digits_vit, load_task("digits"), [load_method(method) for method in methods], kinds, limit=16))
    counts = {kind: digits_vit.anatomy.shapes.count(kind) for kind in kinds}
    assert sum(made) == 16 * cost_of(methods, counts).backward


def test_the_number_of_parameters_is_that_of_the_loaded_model(digits_vit: LoadedModel) -> None:
    folder = inspect_folder("demo:digits-vit", ASSETS / "digits-vit")
    assert folder.parameters == sum(parameter.numel() for parameter in digits_vit.model.parameters())


def qwen() -> tuple[dict[str, object], Anatomy]:
    """The model of benchmarks/scoring."""
    config: dict[str, object] = {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 4,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 0,
    }
    return config, anatomy_of(config)


def test_the_memory_of_a_batch_is_near_what_was_measured() -> None:
    config, anatomy = qwen()
    bytes_ = activation_bytes(config, anatomy, TASKS["world-capitals"])
    # benchmarks/scoring: 463 MB at 1,024 tokens; a full batch of texts has 2,048.
    assert bytes_ == pytest.approx(2 * 463e6, rel=0.1)
    assert activation_bytes(config, anatomy, TASKS["world-capitals"], "bfloat16") == bytes_ / 2


def test_images_count_their_patches() -> None:
    config = json.loads((ASSETS / "digits-vit" / "config.json").read_text())
    small = activation_bytes(config, anatomy_of(config), TASKS["digits"])
    patches = activation_bytes(config | {"patch_size": config["image_size"]}, anatomy_of(config), TASKS["digits"])
    assert small / patches == ((config["image_size"] // config["patch_size"]) ** 2 + 1) / 2
