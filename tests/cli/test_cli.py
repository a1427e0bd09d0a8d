"""The command line works with no server and says what is wrong in words."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from modelshapley import extras
from modelshapley.cli.main import main
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.catalog import ASSETS
from modelshapley.units import UnitKind
from tests.support.command_line import run


def test_score_writes_a_map_and_shows_progress(tmp_path: Path) -> None:
    answer = run(
        "score",
        "demo:digits-vit",
        "--task",
        "digits",
        "--method",
        "mean-abs",
        "--out",
        "m.safetensors",
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    assert "256/256" in answer.stderr
    found = ImportanceMap.load(tmp_path / "m.safetensors")
    assert found.scores[UnitKind.NEURON].shape == (4, 40)
    assert found.provenance["n"] == 256


def test_the_dtype_is_in_the_map_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    options = ["--task", "digits", "--units", "head", "--limit", "32", "--out", "m.safetensors"]
    answer = run("score", "demo:digits-vit", *options, "--dtype", "bfloat16", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert ImportanceMap.load(tmp_path / "m.safetensors").provenance["dtype"] == "bfloat16"
    answer = run("verify", "demo:digits-vit", "--dtype", "float8", cwd=tmp_path)
    assert answer.returncode != 0
    assert "bfloat16" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_folder_is_scored_like_the_model_it_holds(tmp_path: Path) -> None:
    for model, out in (("demo:digits-vit", "a.safetensors"), (str(ASSETS / "digits-vit"), "b.safetensors")):
        options = ["--task", "digits", "--units", "head", "--limit", "32", "--out", out]
        assert run("score", model, *options, cwd=tmp_path).returncode == 0
    a, b = (ImportanceMap.load(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    assert list(a.scores) == [UnitKind.HEAD]
    assert np.array_equal(a.scores[UnitKind.HEAD], b.scores[UnitKind.HEAD])


@pytest.mark.parametrize(("command", "extra"), [("up", "server"), ("doctor", "server"), ("mcp", "mcp")])
def test_a_command_without_its_packages_names_their_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, extra: str
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda *_: False)
    monkeypatch.setattr(sys, "argv", ["modelshapley", command])
    with pytest.raises(SystemExit):
        main()
    assert f"pip install 'modelshapley[{extra}]'" in capsys.readouterr().err


def test_verify(tmp_path: Path) -> None:
    answer = run("verify", "demo:digits-vit", cwd=tmp_path)
    assert answer.returncode == 0
    assert "verified (vit; 160 neurons, 16 heads, 4 layers, 2,080 rows)" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "demo:digits", "--task", "digits", "--out", "x"], "demo:digits-vit"),
        (["score", "nowhere", "--task", "digits", "--out", "x"], "neither a folder"),
        (["score", "demo:digits-vit", "--task", "digit", "--out", "x"], "world-capitals"),
        (["score", "demo:digits-vit", "--task", "digits", "--method", "m", "--out", "x"], "two-sided"),
        (
            ["score", "demo:digits-vit", "--task", "world-capitals", "--out", "x"],
            "is a model that classifies images",
        ),
        (["score", "demo:digits-vit", "--task", "digits", "--limit", "0", "--out", "x"], "limit"),
        (["score", "demo:digits-vit", "--task", "digits", "--out", "no/such/folder/x"], "no/such/folder"),
        (["score", "demo:digits-vit", "--task", "digits", "--device", "tpu9", "--out", "x"], "tpu9"),
    ],
)
def test_errors_are_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["modelshapley", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code
    told = " ".join(capsys.readouterr().err.split())
    assert words in told
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())
