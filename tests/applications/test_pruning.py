"""Smaller models: their logits are those of the parent with units off, their size is the predicted one."""

from __future__ import annotations

import errno
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelshapley import prune
from modelshapley.applications import folder as folders
from modelshapley.applications import proof
from modelshapley.applications.folder import ranges, read_info
from modelshapley.applications.plans import plan_pruning
from modelshapley.applications.pruning import predict
from modelshapley.applications.selection import least_important, merged
from modelshapley.applications.surgery import smaller_model
from modelshapley.contracts.applications.derived import DerivedInfo
from modelshapley.errors import BadTreatment, ModelShapleyError, UnsupportedModel
from modelshapley.interventions.gates import treated
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.catalog import inspect_folder
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.units import Deactivation, Treatment, UnitKind
from tests.support.command_line import run
from tests.support.fork_server import REAL_RUN
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny

NEURON, HEAD, LAYER, EXPERT, ROW = UnitKind
NORM_AFTER = ["bert", "bert classes", "roberta", "distilbert", "bart"]
CANNOT: dict[UnitKind, list[str]] = {
    HEAD: [*NORM_AFTER, "dinov2", "dinov2 with gates", "swin", "gpt2", "gpt_neox", "t5", "t5 with gates", "mt5"],
    LAYER: [*NORM_AFTER, "swin", "t5 with gates", "mt5"],
    NEURON: ["dinov2", "dinov2 with gates"],  # at this small size a whole hidden size is more than half
    EXPERT: [],
}
"""Families that cannot leave out units of a kind; the last two of LAYER have a single layer in each stack."""


@pytest.fixture(params=CONFIGS, scope="module")
def parent(request: pytest.FixtureRequest) -> tuple[str, LoadedModel]:
    return request.param, tiny(CONFIGS[request.param])


def uniform(loaded: LoadedModel, kind: UnitKind) -> Deactivation:
    """Units of which each layer loses the same number, but not the same ones."""
    counts = loaded.anatomy.shapes.counts[kind]
    if kind is LAYER:
        return Deactivation.of({LAYER: [0]})
    if kind is HEAD:
        return Deactivation.of(
            {HEAD: [(layer, h + 2 * (layer % 2)) for layer, n in enumerate(counts) for h in (0, 1) if n > 3]}
        )
    lost = 2 if kind is EXPERT else 3
    return Deactivation.of(
        {kind: [(layer, (i + layer) % n) for layer, n in enumerate(counts) for i in range(lost) if n > lost]}
    )


def uneven(loaded: LoadedModel) -> Deactivation:
    """Neurons and heads of which layers lose different numbers."""
    shapes = loaded.anatomy.shapes
    neurons = [(layer, i) for layer, n in enumerate(shapes.counts[NEURON]) for i in range(min(n, 2 + layer))]
    heads = [(layer, h) for layer, n in enumerate(shapes.counts[HEAD]) for h in range(min(n - 1, 1 + layer))]
    return Deactivation.of({NEURON: neurons, HEAD: heads, LAYER: [shapes.layers - 1]})


def difference(loaded: LoadedModel, off: Deactivation) -> tuple[float, Any]:
    plan = plan_pruning(loaded, off)
    smaller = smaller_model(loaded, plan, torch.float32)
    return proof.difference(proof.logits_of(smaller, loaded), proof.masked_logits(loaded, plan, off)), plan


@pytest.mark.parametrize("kind", [NEURON, HEAD, LAYER, EXPERT])
def test_every_family_leaves_out_units_or_says_why_not(parent: tuple[str, LoadedModel], kind: UnitKind) -> None:
    name, loaded = parent
    if not any(loaded.anatomy.shapes.counts[kind]):
        pytest.skip("the family has no such units")
    off = uniform(loaded, kind)
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    largest, plan = difference(loaded, off)
    assert largest <= 1e-5
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())
    size = predict(loaded, off)
    if name in CANNOT[kind]:
        assert plan.modes[kind] == "zeroed"
        assert plan.reasons[0].startswith(f"{kind.value}s are zeroed in place: ")
        assert size.size == size.parent_size
    else:
        assert plan.modes[kind] == ("padded" if name == "swin" else "removed")
        assert size.size.parameters < size.parent_size.parameters


def test_uneven_layers_are_padded_with_zeros(parent: tuple[str, LoadedModel]) -> None:
    largest, plan = difference(parent[1], uneven(parent[1]))
    assert largest <= 1e-5
    assert parent[0] != "llama" or plan.modes[NEURON] == "padded"


def test_predicted_bytes_are_those_of_the_file(parent: tuple[str, LoadedModel], tmp_path: Path) -> None:
    loaded = parent[1]
    for number, off in enumerate((uneven(loaded), uniform(loaded, HEAD), Deactivation())):
        smaller = smaller_model(loaded, plan_pruning(loaded, off), torch.float32)
        assert folders.save_model(tmp_path / str(number), smaller, loaded) == predict(loaded, off).size.bytes


def test_rows_are_zeroed_in_place() -> None:
    loaded = tiny(LLAMA)
    largest, plan = difference(loaded, Deactivation.of({ROW: [(0, 1), (2, 30)], NEURON: [(0, 1), (1, 1), (2, 1)]}))
    assert largest <= 1e-5
    assert plan.modes == {ROW: "zeroed", NEURON: "removed"}


def test_a_token_still_gets_its_number_of_experts() -> None:
    """An expert that is cut out is not merely silent, since its router can no longer choose it."""
    loaded = tiny(CONFIGS["mixtral"])
    off = Deactivation.of({EXPERT: [(0, 1), (1, 3)]})
    plan = plan_pruning(loaded, off)
    with torch.inference_mode(), treated(loaded.model, loaded.anatomy, off):
        silent = loaded.model(**proof.inputs_of(loaded)).logits
    assert proof.difference(silent, proof.masked_logits(loaded, plan, off)) > 1e-2
    too_few = plan_pruning(loaded, Deactivation.of({EXPERT: [(layer, e) for layer in (0, 1) for e in range(3)]}))
    assert too_few.reasons == ("experts are zeroed in place: each token needs 2 experts.",)


def test_only_units_that_are_off_can_be_removed() -> None:
    with pytest.raises(BadTreatment, match=r"times 0\.5"):
        plan_pruning(tiny(LLAMA), Deactivation.of({HEAD: [(0, 0)]}, Treatment("scale", 0.5)))


@pytest.mark.parametrize(("config", "process"), [(LLAMA, "real"), pytest.param(VIT, "forked", marks=pytest.mark.slow)])
def test_a_saved_model_is_the_parent_with_units_off(
    config: Any, process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if process == "real":  # as users have it
        monkeypatch.setattr(subprocess, "run", REAL_RUN)
    loaded = tiny(config)
    task = ToyTask(loaded)
    monkeypatch.setattr("modelshapley.applications.pruning.load", _load_without_tokenizer)
    off = merged([uniform(loaded, NEURON), Deactivation.of({LAYER: [1], HEAD: [(0, 1)]})])
    info = prune(loaded, task, off, tmp_path / "smaller")
    assert info == read_info(tmp_path / "smaller", DerivedInfo)
    assert info.reload_max_logit_difference <= 1e-5
    assert info.bytes == (tmp_path / "smaller" / "model.safetensors").stat().st_size < info.parent_bytes
    with torch.inference_mode(), treated(loaded.model, loaded.anatomy, off):
        expected = task.correct(loaded, task.examples("test")).float().mean()  # type: ignore[arg-type]  # a StrEnum
    assert info.trial.accuracy == pytest.approx(float(expected))
    assert info.trial.n == 30
    folder = inspect_folder("derived", tmp_path / "smaller")
    assert folder.anatomy.shapes.counts[NEURON] == info_counts(info.kept.neuron)
    assert folder.parameters == info.parameters
    assert json.loads((tmp_path / "smaller" / "config.json").read_text())["model_type"] == config.model_type


def info_counts(kept: list[str] | None) -> tuple[int, ...]:
    """The number of indices in each text of ranges."""
    assert kept is not None
    pairs = [[part.partition("-") for part in text.split(",")] for text in kept]
    return tuple(sum(int(b or a) - int(a) + 1 for a, _, b in layer) for layer in pairs)


def _load_without_tokenizer(folder: Any, device: Any) -> LoadedModel:
    """Toys have no tokenizer to save."""
    from unittest.mock import patch

    with patch("modelshapley.models.loading._tokenizer", return_value=None):
        return load(folder, device)


def test_what_cannot_be_proven_is_not_saved(tmp_path: Path, monkeypatch: Any) -> None:
    loaded = tiny(VIT)
    monkeypatch.setattr(proof, "reloaded_logits", lambda folder, loaded: torch.zeros(1, 5))
    with pytest.raises(UnsupportedModel, match="other logits than the parent"):
        prune(loaded, ToyTask(loaded), uniform(loaded, NEURON), tmp_path / "smaller")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    loaded = tiny(VIT)
    monkeypatch.setattr(type(loaded.model), "save_pretrained", full)
    with pytest.raises(ModelShapleyError, match="is full, so nothing was saved"):
        prune(loaded, ToyTask(loaded), uniform(loaded, NEURON), tmp_path / "smaller")
    assert not list(tmp_path.iterdir())
    (tmp_path / "smaller").mkdir()
    with pytest.raises(ModelShapleyError, match="exists already"):
        prune(loaded, ToyTask(loaded), uniform(loaded, NEURON), tmp_path / "smaller")


@pytest.mark.slow
def test_a_folder_that_does_not_load_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="cannot be loaded in a fresh process"):
        proof.reloaded_logits(tmp_path, tiny(VIT))


def test_least_important_keeps_layers_alike() -> None:
    anatomy = tiny(LLAMA).anatomy  # 4 heads, 2 of them sharing keys and values
    rng = np.random.default_rng(0)
    scores = {
        NEURON: rng.random((3, 20)),
        HEAD: np.array([[0, 9, 2, 3], [5, 1, 1, 1], [0, 1, 2, 3.0]]),
        LAYER: rng.random(3),
    }
    importance_map = ImportanceMap("two-sided", "", False, scores, scores)
    neurons = least_important(importance_map, anatomy, NEURON, 0.25).mask(NEURON, anatomy.shapes)
    assert neurons.sum(1).tolist() == [5, 5, 5]
    assert all(
        scores[NEURON][layer][neurons[layer]].max() < scores[NEURON][layer][~neurons[layer]].min() for layer in range(3)
    )
    groups = least_important(importance_map, anatomy, HEAD, 0.5)
    assert groups.of_kind(HEAD) == ((0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1))
    queries = least_important(importance_map, anatomy, HEAD, 0.5, heads="queries")
    assert queries.of_kind(HEAD) == ((0, 0), (0, 2), (1, 1), (1, 2), (2, 0), (2, 2))
    assert least_important(importance_map, anatomy, NEURON, 0.5, "model") == importance_map.least(NEURON, 0.5)
    with pytest.raises(ModelShapleyError, match="from 0 to below 1, not 1"):
        least_important(importance_map, anatomy, NEURON, 1.0)


def test_ranges() -> None:
    assert ranges((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"
    assert ranges(()) == ""


@pytest.mark.slow
def test_prune_from_the_command_line(tmp_path: Path) -> None:
    command = ["prune", "demo:digits-vit", "--task", "digits"]
    arguments = ["--remove", "neuron=0.25", "--limit", "32", "--out", str(tmp_path / "small"), "--data", str(tmp_path)]
    predicted = run(*command, *arguments, "--dry-run", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert not (tmp_path / "small").exists()
    made = run(*command, *arguments, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    size = (tmp_path / "small" / "model.safetensors").stat().st_size
    assert f"predicted: {size:,} bytes" in predicted.stdout
    assert predicted.stdout.splitlines()[-2:] == made.stdout.splitlines()[-2:]  # the same accuracy, gated and cut out
    wrong = run(*command, "--remove", "neurons", "--out", "x", cwd=tmp_path)
    assert "KIND=SHARE" in wrong.stderr
    assert "Traceback" not in wrong.stderr
