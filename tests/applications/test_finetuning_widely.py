"""Fine-tuning of experts, in bfloat16, and by several processes."""

from __future__ import annotations

import ast
import os
import socket
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modelshapley.applications.finetuning.finetune import finetune
from modelshapley.applications.finetuning.parallel import Processes, own_device, own_part
from modelshapley.applications.finetuning.submatrix import named, training, write_all
from modelshapley.applications.finetuning.trainer import Trainer
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.errors import ModelShapleyError
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.fork_server import fork_server
from tests.support.toys import CONFIGS, LLAMA, ToyTask, tiny

NEURON, EXPERT = UnitKind.NEURON, UnitKind.EXPERT
EXPERTS = Deactivation.of({EXPERT: [(0, 1), (0, 3)], UnitKind.HEAD: [(1, 0)]})


def trained(loaded: LoadedModel, units: Deactivation, settings: FinetuneSettings) -> dict[str, torch.Tensor]:
    """Train units, and return the weights afterwards."""
    task = ToyTask(loaded, probe=12)
    with training(loaded.model, loaded.anatomy, units) as parts:
        parameters, written = named(parts), partial(write_all, parts)
        Trainer(loaded, task, task.examples(Split.PROBE), parameters, settings, 0, written=written).run()
    return loaded.model.state_dict()


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_gradients_of_experts_are_those_of_masked_training(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    task = ToyTask(loaded, probe=12)
    examples = task.examples(Split.PROBE)
    with torch.no_grad():
        plain = task.losses(loaded, examples)
    with training(loaded.model, loaded.anatomy, EXPERTS) as parts:
        losses = task.losses(loaded, examples)
        losses.mean().backward()
        ours = {key: p.grad for key, p in named(parts).items()}
        assert max(len(p) for key, p in named(parts).items() if "experts" in key) == 2
    assert (losses.detach() - plain).abs().max() <= 1e-5
    loaded.model.requires_grad_(True)
    task.losses(loaded, examples).mean().backward()
    module = loaded.model.model.layers[0].mlp.experts
    for weight in ("gate_up_proj", "down_proj"):
        gradient = ours[f"model.layers.0.mlp.experts.experts.{weight}"]
        expected = module.get_parameter(weight).grad[[1, 3]]
        assert gradient is not None
        assert (gradient - expected).abs().max() <= 1e-6
        assert expected.abs().max() > 1e-3


def test_only_the_chosen_experts_move() -> None:
    loaded = tiny(CONFIGS["mixtral"])
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    only = Deactivation.of({EXPERT: [(0, 1), (0, 3)]})
    after = trained(loaded, only, FinetuneSettings(steps=3, batch=6, rate=1e-2))
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {f"model.layers.0.mlp.experts.{name}" for name in ("gate_up_proj", "down_proj")}
    for key in changed:
        assert torch.equal(after[key][[0, 2]], before[key][[0, 2]])
        assert not torch.equal(after[key][1], before[key][1])
    logits = loaded.model(torch.arange(6)[None]).logits  # the whole weights give what was trained
    assert torch.isfinite(logits).all()


@pytest.mark.slow  # loads the result in a fresh process
def test_experts_train_beside_random_ones_and_full(tmp_path: Path) -> None:
    loaded = tiny(CONFIGS["mixtral"])
    task, settings = ToyTask(loaded, probe=24), FinetuneSettings(steps=2, batch=8, rate=1e-2)
    units = Deactivation.of({EXPERT: [(0, 1)]})
    with pytest.raises(ModelShapleyError, match="'lora' cannot train here: LoRA factors need linear maps"):
        finetune(loaded, task, units, tmp_path / "a", settings=settings, controls=["lora"])
    info = finetune(loaded, task, units, tmp_path / "tuned", settings=settings)
    assert [arm.name for arm in info.arms] == ["targeted", "random", "full"]
    assert info.trained_units == {EXPERT: 1}
    with pytest.raises(ModelShapleyError, match="experts in stacked weights"):
        finetune(loaded, task, units, tmp_path / "b", settings=settings, adapter=True)


def in_bfloat16(loaded: LoadedModel) -> LoadedModel:
    """As it would be loaded: buffers, such as the frequencies of positions, stay in float32."""
    for parameter in loaded.model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return loaded


def test_in_bfloat16_steps_add_up_that_are_too_small_to_see() -> None:
    """Each step is a tenth of the distance of two numbers: rounded at once, nothing would ever move."""
    loaded = in_bfloat16(tiny(LLAMA))
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    units = Deactivation.of({NEURON: [(0, 1), (2, 3)]})
    settings = FinetuneSettings(steps=30, batch=4, rate=1e-4, warmup=0)
    with training(loaded.model, loaded.anatomy, units) as parts:
        assert {p.dtype for p in named(parts).values()} == {torch.float32}
    after = trained(loaded, units, settings)
    key = "model.layers.0.mlp.down_proj.weight"
    moved = (after[key][:, 1] != before[key][:, 1]).float().mean()
    assert after[key].dtype == torch.bfloat16
    assert moved > 0.5
    assert torch.equal(after[key][:, 2:], before[key][:, 2:])
    plain = in_bfloat16(tiny(LLAMA))
    weight = plain.model.get_parameter(key).requires_grad_(True)
    optimiser = torch.optim.AdamW([weight], lr=1e-4, weight_decay=0)
    task = ToyTask(plain, probe=12)
    for _ in range(30):
        task.losses(plain, task.examples(Split.PROBE)[:4]).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    assert (weight.detach()[:, 1] != before[key][:, 1]).float().mean() < moved / 2


def test_gradients_in_bfloat16_are_those_of_float32_but_for_rounding() -> None:
    units = Deactivation.of({NEURON: [(0, 1), (2, 3)], UnitKind.HEAD: [(1, 2)]})
    coarse, fine = in_bfloat16(tiny(LLAMA)), in_bfloat16(tiny(LLAMA))
    fine.model.float()  # the same rounded weights, computed with in float32
    gradients = []
    for loaded in (coarse, fine):
        task = ToyTask(loaded, probe=12)
        with training(loaded.model, loaded.anatomy, units) as parts:
            task.losses(loaded, task.examples(Split.PROBE)).mean().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in named(parts).values() if p.grad is not None]))
    assert gradients[0].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.99
    assert 0 < (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 0.1


@pytest.mark.slow  # loads the result in a fresh process
def test_a_model_in_bfloat16_is_saved_as_it_was_measured(tmp_path: Path) -> None:
    loaded = in_bfloat16(tiny(LLAMA))
    task, units = ToyTask(loaded, probe=24), Deactivation.of({NEURON: [(0, 1), (2, 3)]})
    settings = FinetuneSettings(steps=4, batch=8, rate=1e-2)
    info = finetune(loaded, task, units, tmp_path / "tuned", settings=settings)
    assert [arm.name for arm in info.arms] == ["targeted", "random", "lora"]
    assert {t.dtype for t in load_file(tmp_path / "tuned" / "model.safetensors").values()} == {torch.bfloat16}
    with pytest.raises(ModelShapleyError, match="'full' cannot train here: small steps"):
        finetune(loaded, task, units, tmp_path / "a", settings=settings, controls=["full"])
    with pytest.raises(ModelShapleyError, match="load the model in float32 to save one"):
        finetune(loaded, task, units, tmp_path / "b", settings=settings, adapter=True)
    loaded.model.half()
    with pytest.raises(ModelShapleyError, match="float16, whose range is too small"):
        finetune(loaded, task, units, tmp_path / "c", settings=settings)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.slow  # three processes that train
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Two over gloo, each with half of every batch: weights within 1e-6 of one process with whole batches."""
    port = str(_free_port())
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    places = [{}, *(place | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1"))]
    outputs = [tmp_path / f"{number}.txt" for number in range(3)]
    started = []
    for name, place, output in zip(("one", "two", "two"), places, outputs, strict=True):
        command = ["tests.support.trained_together", str(tmp_path / name)]
        with output.open("w") as file:
            started.append(fork_server().start(*command, env=os.environ | place, stdout=file))
    assert [process.wait(timeout=300) for process in started] == [0, 0, 0]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert max(float((one[key] - two[key]).abs().max()) for key in one) <= 1e-6
    untrained = tiny(LLAMA).model.state_dict()
    assert max(float((one[key] - untrained[key]).abs().max()) for key in one) > 1e-3
    losses = [ast.literal_eval(text.splitlines()[-1]) for text in (output.read_text() for output in outputs)]
    assert losses[1] == losses[2]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_batch_is_divided_evenly_or_refused() -> None:
    assert own_part([1, 2, 3, 4], Processes(1, 2)) == [2, 4]
    assert own_part([1, 2, 3], Processes()) == [1, 2, 3]
    with pytest.raises(ModelShapleyError, match="3 examples cannot be divided evenly among 2 processes"):
        own_part([1, 2, 3], Processes(0, 2))


def test_each_process_has_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
