"""Models of the hub: out of its cache without asking it, nothing but safetensors, else an error in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from modelshapley.errors import UnsupportedModel
from modelshapley.models import hub
from modelshapley.models.catalog import ASSETS, inspect_folder
from modelshapley.models.loading import load
from tests.support.command_line import run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as the hub's library leaves it after a download: the digits ViT as some-one/digits."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "1" * 40
    repository = tmp_path / "models--some-one--digits"
    shutil.copytree(ASSETS / "digits-vit", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


def test_a_model_in_the_cache_is_loaded(cache: Path) -> None:
    folder = hub.model_folder("some-one/digits")
    assert folder.resolve() == cache.resolve()
    assert load(inspect_folder("some-one/digits", folder)).anatomy.model_type == "vit"
    assert hub.model_folder(f"some-one/digits@{cache.name}").resolve() == cache.resolve()


@pytest.mark.usefixtures("cache")
def test_a_model_that_cannot_be_had_says_so() -> None:
    with pytest.raises(UnsupportedModel, match="'some-one/other' is not a local folder, and is not available"):
        hub.model_folder("some-one/other")


def test_nothing_that_could_be_unpickled_is_fetched() -> None:
    assert not any(pattern.endswith((".bin", ".pt", ".py", ".pkl", "*")) for pattern in hub.FILE_PATTERNS)


def test_names_that_are_no_paths() -> None:
    assert hub.is_name("Qwen/Qwen2.5-3B-Instruct")
    assert hub.is_name("a/b@refs/pr/1")
    for path in ("../up", "/etc/x", "one", "a/b/c", "./a/b", "a\\b", "O/ií", "o/" + "n" * 97, "o/n--m", "o/n."):
        assert not hub.is_name(path)


def test_on_the_command_line(tmp_path: Path) -> None:
    answer = run("verify", "no-one-at-all/nothing", cwd=tmp_path)
    assert answer.returncode == 1
    assert "is not available from the Hugging Face hub or its cache" in answer.stderr.replace("\n", " ")
    assert "Traceback" not in answer.stderr
