"""A LoRA adapter holds what targeted fine-tuning changed, and LoRA trains beside it as a control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from modelshapley.applications.finetuning import lora
from modelshapley.applications.finetuning.finetune import finetune
from modelshapley.applications.finetuning.lora import rank_for
from modelshapley.applications.finetuning.parts import parts_of
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.errors import ModelShapleyError, UnsupportedModel
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny

UNITS = Deactivation.of({UnitKind.NEURON: [(0, 1), (0, 7), (2, 3)], UnitKind.HEAD: [(0, 1), (1, 0)]})
SETTINGS = FinetuneSettings(steps=4, batch=4, rate=1e-2)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("llama", "gemma2", "phi3")])
def test_an_adapter_is_the_trained_model(name: str, tmp_path: Path) -> None:
    loaded = tiny(CONFIGS[name])
    task = ToyTask(loaded, probe=12)
    whole = finetune(loaded, task, UNITS, tmp_path / "whole", settings=SETTINGS, controls=[])
    small = finetune(loaded, task, UNITS, tmp_path / "adapter", settings=SETTINGS, controls=[], adapter=True)
    assert (whole.adapter, small.adapter) == (False, True)
    assert small.arms[0].loss == whole.arms[0].loss
    trained = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole").eval()
    adapted = peft.PeftModel.from_pretrained(loaded.model, tmp_path / "adapter").eval()
    tokens = torch.randint(0, 30, (2, 7))
    with torch.inference_mode():
        expected, found = trained(tokens).logits, adapted(tokens).logits
        merged = adapted.merge_and_unload()(tokens).logits
    assert (found - expected).abs().max() <= 2e-5
    assert (merged - expected).abs().max() <= 2e-5
    assert (expected - tiny(CONFIGS[name]).model(tokens).logits).abs().max() > 1e-3, "training moved something"
    files = {file.name for file in (tmp_path / "adapter").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "modelshapley.json", "README.md"}
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["rank_pattern"] == config["alpha_pattern"]
    one_hot = [key for key, value in load_file(tmp_path / "adapter" / "adapter_model.safetensors").items()
               if bool(((value == 0) | (value == 1)).all()) and "lora_B" in key]  # fmt: skip
    assert len(one_hot) == sum(part.side == "rows" for part in parts_of(loaded.anatomy, UNITS))


@pytest.mark.slow
def test_lora_trains_nearly_as_many_parameters_and_leaves_no_trace(tmp_path: Path) -> None:
    loaded = tiny(LLAMA)
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    modules = dict(loaded.model.named_modules())
    task = ToyTask(loaded, probe=12)
    info = finetune(loaded, task, UNITS, tmp_path / "tuned", settings=SETTINGS, controls=["lora"])
    targeted, control = info.arms
    paths = sorted({part.path for part in parts_of(loaded.anatomy, UNITS)})
    width = sum(sum(loaded.model.get_parameter(f"{path}.weight").shape) for path in paths)
    assert control.trained == rank_for(loaded.model, paths, targeted.trained) * width
    assert abs(control.trained - targeted.trained) <= width
    assert abs(control.loss - info.parent_loss) > 1e-4, "the factors moved"
    assert dict(loaded.model.named_modules()) == modules
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.slow  # each result is loaded by a process of its own
def test_lora_is_the_same_again(tmp_path: Path) -> None:
    losses: list[float] = []
    for name in ("a", "b"):
        loaded = tiny(LLAMA)
        torch.manual_seed(len(name) + len(losses))
        task = ToyTask(loaded, probe=12)
        losses.append(finetune(loaded, task, UNITS, tmp_path / name, settings=SETTINGS, controls=["lora"]).arms[1].loss)
    assert losses[0] == losses[1]


def test_what_no_adapter_can_hold_is_refused_before_training(tmp_path: Path, monkeypatch: Any) -> None:
    loaded = tiny(VIT)
    task = ToyTask(loaded)
    with pytest.raises(UnsupportedModel, match="has a bias, which trains with its units"):
        finetune(loaded, task, UNITS, tmp_path / "a", adapter=True)
    with pytest.raises(ModelShapleyError, match="no control 'dora'"):
        finetune(loaded, task, UNITS, tmp_path / "a", controls=["dora"])
    monkeypatch.setattr(lora, "available", lambda: False)
    for options in ({"adapter": True}, {"controls": ["lora"]}):
        with pytest.raises(ModelShapleyError, match=r"pip install 'modelshapley\[finetune\]'"):
            finetune(loaded, task, UNITS, tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())
