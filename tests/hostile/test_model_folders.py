"""A folder of nonsense is described with the reason, quickly, and hides no other."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelshapley.architectures.families import FAMILIES
from modelshapley.contracts import ModelInfo
from modelshapley.models.catalog import Catalog
from tests.hostile.model_folders import CONFIGS, HEADERS
from tests.support.model_files import safetensors, write


def described(root: Path) -> dict[str, ModelInfo]:
    catalog = Catalog(root, [root / "models"])
    infos = [catalog.describe(model_id) for model_id in catalog.ids()]
    for info in infos:
        info.model_dump_json().encode()  # what the API sends
    return {info.id: info for info in infos}


def test_the_good_one_is_usable(tmp_path: Path) -> None:
    write(tmp_path / "models" / "good")
    good = described(tmp_path)["local:good"]
    assert good.usable, good.problem
    assert good.shapes == {
        "neuron": [2, 20],
        "head": [2, 4],
        "layer": [2],
        "row": [2, 24 + 12 + 12 + 24 + 20 + 20 + 24],
    }


@pytest.mark.parametrize("what", CONFIGS)
def test_configs(what: str, tmp_path: Path) -> None:
    write(tmp_path / "models" / "bad", CONFIGS[what])
    started = time.monotonic()
    bad = described(tmp_path)["local:bad"]
    assert time.monotonic() - started < 2
    assert not bad.usable, bad
    assert bad.problem
    assert len(bad.problem) < 1000
    assert "server's log" not in bad.problem


@pytest.mark.parametrize("what", HEADERS)
def test_headers(what: str, tmp_path: Path) -> None:
    write(tmp_path / "models" / "bad", model=safetensors(HEADERS[what]))
    started = time.monotonic()
    bad = described(tmp_path)["local:bad"]
    assert time.monotonic() - started < 2
    assert not bad.usable, bad
    assert bad.problem
    assert len(bad.problem) < 1000


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 8, b"\0" * 8, (100).to_bytes(8, "little") + b"{}"])
def test_files_that_are_no_safetensors(data: bytes, tmp_path: Path) -> None:
    write(tmp_path / "models" / "bad", model=data)
    assert not described(tmp_path)["local:bad"].usable


def test_all_of_them_beside_a_good_one(tmp_path: Path) -> None:
    for number, config in enumerate(CONFIGS.values()):
        write(tmp_path / "models" / f"bad-{number}", config)
    write(tmp_path / "models" / "good")
    (tmp_path / "models" / "empty").mkdir()
    (tmp_path / "models" / "nowhere").symlink_to(tmp_path / "not-there")
    (tmp_path / "models" / "outside").symlink_to("/etc")
    os.mkdir(os.fsencode(tmp_path / "models") + b"/\xff")
    started = time.monotonic()
    infos = described(tmp_path)
    assert time.monotonic() - started < 5
    assert infos["local:good"].usable
    assert [name for name, info in infos.items() if name.startswith("local:") and info.usable] == ["local:good"]


def test_a_folder_is_read_again_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "models" / "one")
    catalog = Catalog(tmp_path, [tmp_path / "models"])
    assert catalog.describe("local:one").usable
    with monkeypatch.context() as patched:
        patched.setattr("modelshapley.models.catalog.inspect_folder", None)
        assert catalog.describe("local:one").usable
    (folder / "config.json").write_text("{}")
    assert not catalog.describe("local:one").usable
    assert not catalog.describe("local:one").usable


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", [-1, 0, 10**12, "4", [4], None, 1.5, {"a": 1}, True, "\ud800"], ids=str)
def test_every_number_of_every_family(family: str, value: object, tmp_path: Path) -> None:
    """Whatever key a family reads: any value but its own leaves a reason, not an error."""
    keys: tuple[str, ...] = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "head_dim",
        "dim",
        "n_heads",
    )
    keys += ("n_layers", "hidden_dim", "n_embd", "n_head", "n_layer", "n_inner", "d_model", "d_ff", "d_kv", "num_heads")
    keys += ("num_layers", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim", "mlp_ratio")
    keys += ("depths", "embed_dim", "num_local_experts", "num_experts", "decoder_sparse_step", "mlp_only_layers")
    write(tmp_path / "models" / "bad", {"model_type": family, "architectures": None} | dict.fromkeys(keys, value))
    bad = described(tmp_path)["local:bad"]
    assert not bad.usable
    assert "server's log" not in (bad.problem or "")
