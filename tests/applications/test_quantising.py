"""Quantised models: what is saved is what the scheme says, loads again, and is measured beside its parent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from modelshapley.applications.quantising.calibration import calibration_sequences, require_tokens
from modelshapley.applications.quantising.schemes import group_of, quantised_maps, scheme_named
from modelshapley.applications.reproducing.compression import markdown, reproduce_compression
from modelshapley.contracts.applications.quantising import SCHEMES, QuantisedInfo
from modelshapley.errors import ModelShapleyError, UnknownName, UnsupportedModel
from modelshapley.models.catalog import inspect_folder
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.tasks.base import Split
from tests.support import task_data
from tests.support.fork_server import Forked, ForkServer
from tests.support.toys import VIT, ToyTask, tiny

CONFIG = transformers.LlamaConfig(
    hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
)
COLOURS = {
    "kind": "multiple-choice",
    "probe": {"split": "all", "share": 0.5},
    "test": {"split": "all", "share": 0.5},
    "prompt": "{question} is",
    "choices": ["red", "blue", "green"],
    "key": "answer",
}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama in a folder, with a tokenizer."""
    folder = tmp_path_factory.mktemp("parent")
    words = task_data.tokenizer()
    task_data.model(CONFIG, words).model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(parent: Path) -> LoadedModel:
    return load(inspect_folder("local:tiny", parent))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("data")
    rows = [{"question": f"the thing with number {n}", "answer": COLOURS["choices"][n % 3]} for n in range(40)]
    task_data.jsonl(root / "colours.jsonl", rows)
    return task_data.task(root, COLOURS, source={"path": "colours.jsonl"})


@pytest.fixture(scope="module")
def compressor() -> Iterator[ForkServer]:
    """A process that has imported llm-compressor, for those of all schemes."""
    pytest.importorskip("llmcompressor")
    server = ForkServer(
        ("datasets", "transformers.models.auto.modeling_auto", "modelshapley.applications.quantising.algorithm1")
    )
    yield server
    server.close()


@pytest.fixture(scope="module")
def quantised(
    parent: Path, loaded: LoadedModel, task: Any, tmp_path_factory: pytest.TempPathFactory, compressor: ForkServer
) -> dict[str, tuple[Path, QuantisedInfo]]:
    """Every scheme that needs no GPU."""
    from modelshapley.applications.quantising.quantise import quantise

    def start(command: list[str], *, stdout: int, stderr: IO[bytes], cwd: Path) -> Forked:
        with open(os.devnull, "wb") as nothing:
            return compressor.start(*command[2:], stdout=nothing, stderr=stderr, cwd=cwd)

    root = tmp_path_factory.mktemp("quantised")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelshapley.applications.quantising.quantise.start", start)
        return {
            name: (root / name, quantise(loaded, task, name, root / name, parent_folder=parent, beta=0.9))
            for name, scheme in SCHEMES.items()
            if not scheme.needs_cuda
        }


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the linear maps that a plain `from_pretrained` gives, in float32."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        model(torch.zeros((1, 2), dtype=torch.long))  # unpacks them
    return {path: part.weight.detach() for path, part in quantised_maps(model).items()}


def rounded(weight: torch.Tensor, group: int) -> torch.Tensor:
    """Symmetric rounding to 4 bits, written independently: 15 steps between the largest magnitudes of a group."""
    grouped = weight.reshape(weight.shape[0], -1, group)
    scale = grouped.abs().amax(-1, keepdim=True) * 2 / 15
    return (torch.clamp(torch.round(grouped / scale), -8, 7) * scale).reshape(weight.shape)


@pytest.mark.slow
def test_each_scheme_saves_what_it_says_and_is_measured(
    quantised: dict[str, tuple[Path, QuantisedInfo]], parent: Path, loaded: LoadedModel
) -> None:
    whole = sum(file.stat().st_size for file in parent.glob("*.safetensors"))
    for name, (folder, info) in quantised.items():
        assert info.reload_max_logit_difference == 0, name
        assert info.maps == len(quantised_maps(loaded.model)) == 14
        assert info.bytes < 0.6 * whole, name
        assert info.trial.n == 20
        assert info.loss_difference == pytest.approx(info.loss - info.parent_loss)
        assert info.loss_interval[0] <= info.loss_difference <= info.loss_interval[1]
        assert {file.name for file in folder.iterdir()} >= {"modelshapley.json", "README.md", "config.json"}
        assert not list(folder.glob("*.yaml")), "a recipe holds tags of Python objects"
    assert quantised["gptq-w4"][1].fallbacks == quantised["rtn-w4"][1].fallbacks == 0
    assert "quantised (gptq-w4)" in (quantised["gptq-w4"][0] / "README.md").read_text()


@pytest.mark.slow
def test_the_weights_are_those_of_the_scheme(
    quantised: dict[str, tuple[Path, QuantisedInfo]], loaded: LoadedModel
) -> None:
    plain = {path: part.weight for path, part in quantised_maps(loaded.model).items()}
    nearest, released, gptq = (weights_of(quantised[name][0]) for name in ("rtn-w4", "paper-released", "gptq-w4"))
    assert quantised["rtn-w4"][1].group == 64
    for path, weight in plain.items():
        assert (nearest[path] - rounded(weight, 64)).abs().max() < 1e-5, path
        assert torch.equal(released[path], nearest[path]), "without the other entries nothing is corrected"
    assert any(not torch.equal(gptq[path], nearest[path]) for path in plain)
    one, other = (load_file(quantised[name][0] / "model.safetensors") for name in ("rtn-w4", "paper-released"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_the_papers_table_has_a_row_for_each_scheme(
    quantised: dict[str, tuple[Path, QuantisedInfo]], parent: Path, loaded: LoadedModel, task: Any
) -> None:
    infos = {name: info for name, (_, info) in quantised.items()}
    again = reproduce_compression(loaded, task, parent, ["rtn-w4"])  # by a real process
    assert again["rtn-w4"].loss == infos["rtn-w4"].loss
    table = markdown(infos | again, "Colours", "modelshapley reproduce compression").splitlines()
    rows = {line.split("|")[1].strip(" `"): line for line in table if line.startswith("| `")}
    assert list(rows) == list(infos)
    for name, info in infos.items():
        assert f"| {info.loss_difference:+.3f} (" in rows[name]
        assert f"| {info.fallbacks} of 14 |" in rows[name]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelshapley.applications.quantising.schemes.find_spec", lambda name: None)
    with pytest.raises(ModelShapleyError, match=r"pip install 'modelshapley\[compress\]'"):
        scheme_named("rtn-w4")


def test_calibration_reads_the_right_answers(loaded: LoadedModel, task: Any) -> None:
    examples = task.select(loaded, Split.PROBE, 0, 18)
    sequences = calibration_sequences(loaded, task, examples)
    texts = [loaded.tokenizer.decode(sequence) for sequence in sequences]
    assert texts == [f"{example.prompt} {example.choices[example.right]}" for example in examples]
    with pytest.raises(ModelShapleyError, match="1 probe examples of task 'mine' give 1 sequences"):
        calibration_sequences(loaded, task, examples[:1])
    tokens = sum(map(len, sequences))
    require_tokens(sequences, tokens)
    with pytest.raises(ModelShapleyError, match=f"has {tokens} tokens, fewer than the {tokens + 1} inputs"):
        require_tokens(sequences, tokens + 1)


def test_what_cannot_be_quantised_is_refused(loaded: LoadedModel, task: Any, parent: Path, tmp_path: Path) -> None:
    pytest.importorskip("llmcompressor")
    from modelshapley.applications.quantising.quantise import quantise

    with pytest.raises(UnknownName, match="gptq-w4"):
        scheme_named("w2")
    if not torch.cuda.is_available():
        with pytest.raises(ModelShapleyError, match="'fp8' needs a GPU"):
            scheme_named("fp8")
    picture = tiny(VIT)
    with pytest.raises(UnsupportedModel, match="only language models"):
        quantise(picture, ToyTask(picture), "rtn-w4", tmp_path / "a", parent_folder=parent)
    with pytest.raises(ModelShapleyError, match="beta is 2"):
        quantise(loaded, task, "paper-algorithm-1", tmp_path / "a", parent_folder=parent, beta=2)
    with pytest.raises(UnsupportedModel, match="the width 24 of a linear map is no multiple of 16"):
        group_of("x", [64, 24])
    assert [group_of("x", widths) for widths in ([256, 128], [576, 1536], [96, 32])] == [128, 64, 32]
    assert list(tmp_path.iterdir()) == []
