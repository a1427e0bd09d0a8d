"""What is left over, quantised, foreign or not a number is refused in a sentence, or named; never used in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modelshapley import evaluate, load_model, load_task, measure, score
from modelshapley.errors import BadData, NotFinite, UnsupportedModel
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.catalog import inspect_folder
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.task_data import jsonl, model, task, tokenizer
from tests.support.toys import LLAMA

LINES = {"kind": "language-modelling", "window": 16, "source": {"path": "a.jsonl"}}
LINES |= {"probe": {"split": "all", "share": 0.5}, "test": {"split": "all", "share": 0.5}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = tokenizer()
    model(LLAMA, words).model.save_pretrained(tmp_path / "m")
    words.save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def add(folder: Path, **tensors: torch.Tensor) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | tensors, folder / "model.safetensors", metadata={"format": "pt"})


def lines(root: Path) -> Any:
    jsonl(root / "a.jsonl", [{"text": f"The cat sat on {i} mats, and the dog lay by the door."} for i in range(8)])
    return task(root, LINES)


def test_a_whole_model_has_nothing_to_say(folder: Path) -> None:
    assert load_model(str(folder)).notes == []


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModel, match="'derived:a' is a LoRA adapter, which peft adds to its parent"):
        inspect_folder("derived:a", tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "model.layers.3.self_attn.q_proj.weight",
            r"past the last one that its config names \(model.layers.2\)",
        ),
        ("model.layers.0.self_attn.q_proj.weight_scale_inv", "quantised, or come with an adapter"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "quantised, or come with an adapter"),
    ],
)
def test_tensors_without_which_the_weights_mean_something_else_are_refused(folder: Path, name: str, words: str) -> None:
    add(folder, **{name: torch.ones(2, 2)})
    with pytest.raises(UnsupportedModel, match=words) as refused:
        load_model(str(folder))
    assert name in str(refused.value)


def test_other_tensors_that_are_not_used_are_named_in_notes_and_provenance(folder: Path, tmp_path: Path) -> None:
    add(folder, **{"value_head.weight": torch.ones(1, 24)})
    loaded = load_model(str(folder))
    assert loaded.notes == ["1 tensors of the weights are not used by this model: value_head.weight."]
    provenance = score(loaded, lines(tmp_path), "mean-abs", ["head"]).provenance
    assert provenance["unused_tensors"] == ["value_head.weight"]
    assert provenance["shortcuts"] == "all proven"


@pytest.mark.parametrize("quantisation", [{"quant_method": "gptq", "bits": 4}, {"load_in_8bit": True}, "fp8"])
def test_quantised_checkpoints_are_refused_before_anything_is_loaded(folder: Path, quantisation: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantisation}))
    with pytest.raises(UnsupportedModel, match="are quantised"):
        inspect_folder("q", folder)


def test_a_tokenizer_of_another_kind_is_an_error_in_words(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nonsense"}}')
    with pytest.raises(UnsupportedModel, match=r"The tokenizer of .* cannot be loaded"):
        load_model(str(folder))


def test_a_token_beyond_the_embeddings_is_named(tmp_path: Path) -> None:
    words = tokenizer()
    loaded = model(LLAMA, words, vocab_size=len(words) - 30)
    with pytest.raises(BadData, match=r"has number .* but the model has .* embeddings"):
        evaluate(loaded, lines(tmp_path))


def test_what_is_not_a_number_is_an_error_on_every_path(tmp_path: Path) -> None:
    loaded, made = model(LLAMA, tokenizer()), lines(tmp_path)
    loaded.model.get_submodule("model.layers.1.mlp.down_proj").weight.data[0, 0] = float("nan")
    off = Deactivation.of({UnitKind.HEAD: [(0, 0)]})
    for path in (
        lambda: evaluate(loaded, made),
        lambda: measure(loaded, made, off),
        lambda: score(loaded, made, "two-sided", ["head"]),
        lambda: score(loaded, made, "permutation-shapley,pairs=1", ["layer"], limit=2),
        lambda: score(loaded, made, "path-shapley,points=2", ["head"]),
    ):
        with pytest.raises(NotFinite, match="nan"):
            path()


def test_written_answers_are_guarded_too(tmp_path: Path) -> None:
    loaded = model(LLAMA, tokenizer())
    loaded.model.get_submodule("model.norm").weight.data[0] = float("inf")
    jsonl(tmp_path / "a.jsonl", [{"question": f"{i}?", "answer": str(i)} for i in range(8)])
    parts = {"probe": LINES["probe"], "test": LINES["test"], "source": LINES["source"]}
    writing = task(tmp_path, {"kind": "generation", "prompt": "{question}", "rule": "number", **parts})
    with pytest.raises(NotFinite, match="highest logit of a new token"):
        writing.generate(loaded, writing.examples(Split.TEST))


def test_a_map_of_nothing_but_not_a_number_is_not_read() -> None:
    scores = {UnitKind.HEAD: np.full((2, 3), np.nan)}
    with pytest.raises(NotFinite, match="score the model again"):
        ImportanceMap("m", "nats", False, scores, scores)


def test_the_digits_task_is_guarded(digits_vit: Any) -> None:
    weight = next(digits_vit.model.parameters()).data
    before = weight.clone()
    weight.fill_(float("nan"))
    try:
        with pytest.raises(NotFinite, match="A logit"):
            evaluate(digits_vit, load_task("digits"), limit=8)
    finally:
        weight.copy_(before)
