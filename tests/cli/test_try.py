"""`modelshapley try`: both answers on the command line, and wrong options in a sentence."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest

from modelshapley.cli.main import main
from modelshapley.contracts.prompts import PromptSettings
from modelshapley.interventions.weights import scaled_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.prompts.reading import read_prompt
from modelshapley.units import Deactivation, Treatment, UnitKind
from tests.prompts.test_answers import picture
from tests.prompts.test_writing import generated

SMOLLM2 = "demo:smollm2-135m"


def printed(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[str, str]:
    """What the command prints, and its errors as one line."""
    monkeypatch.setattr(sys, "argv", ["modelshapley", "try", *arguments, "--data", str(data)])
    with pytest.raises(SystemExit):
        main()
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, " ".join(err.split())


def test_both_columns_equal_generate_and_are_streamed_as_a_table(
    prepared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], smollm2: LoadedModel
) -> None:
    monkeypatch.setattr("modelshapley.cli.prompting.load_model", lambda *_: smollm2)
    options = ["--prompt", "The capital of France is", "--no-chat", "--off", "head:3.7", "--off", "layer:12"]
    options += ["--how", "scale=0", "--max-new-tokens", "6"]
    out, _ = printed(prepared_data, monkeypatch, capsys, SMOLLM2, *options, "--json")
    answer = json.loads(out)
    read = read_prompt(smollm2, "The capital of France is", PromptSettings(chat="no"))
    off = Deactivation.of({UnitKind.HEAD: [(3, 7)], UnitKind.LAYER: [12]}, Treatment("scale", 0))
    assert [token["id"] for token in answer["intact"]["tokens"]] == generated(smollm2.model, read.tokens, 6)
    with scaled_weights(smollm2.model, smollm2.anatomy, off):
        assert [token["id"] for token in answer["changed"]["tokens"]] == generated(smollm2.model, read.tokens, 6)
    assert len(answer["positions"]) == 6
    out, _ = printed(prepared_data, monkeypatch, capsys, SMOLLM2, *options)
    assert "head 3.7, layer 12 off" in out
    assert answer["intact"]["text"].split()[0] in out


def test_a_picture_is_classified(
    prepared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "digit.png"
    file.write_bytes(base64.b64decode(picture().partition(",")[2]))
    options = ["demo:digits-vit", "--image", str(file), "--off", "head=0.5", "--task", "digits"]
    out, _ = printed(prepared_data, monkeypatch, capsys, *options, "--json")
    (position,) = json.loads(out)["positions"]
    assert position["kl"] > 0
    out, _ = printed(prepared_data, monkeypatch, capsys, *options)
    assert "8 heads off" in out
    assert position["text"] in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prompt", " "], "A prompt needs a causal language model"),
        ([], "Give either --prompt, a text, or --image, a picture"),
        (["--prompt", "x" * 20_001], "more than 20,000 characters"),
        (["--image", "nowhere.png"], "cannot be read"),
        (["--prompt", "x", "--off", "heads:1"], "names no unit; write head:3.7"),
        (["--prompt", "x", "--off", "head:1.99"], "heads go from 0 to 3"),
        (["--prompt", "x", "--off", "head=0.3"], "depends on a task: give --task or --map"),
        (["--prompt", "x", "--how", "times"], "units can be treated by"),
        (["--prompt", "x", "--how", "resample", "--off", "layer:1"], "needs pairs of prompts"),
        (["--prompt", "x", "--how", "mean", "--off", "layer:1"], "give --task"),
        (["--prompt", "x", "--temperature", "nan"], "temperature"),
        (["--prompt", "x", "--max-new-tokens", "100000"], "--max-new-tokens"),
    ],
)
def test_errors_are_sentences(
    prepared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    _, error = printed(prepared_data, monkeypatch, capsys, "demo:digits-vit", *options)
    assert words in error
