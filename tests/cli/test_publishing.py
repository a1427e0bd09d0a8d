"""Maps and derived models to a hub and back, by the command line; the hub is a fake, its client the real one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from modelshapley.contracts import Faithfulness, Mark, Progress, Status, Verdict
from modelshapley.contracts.faithfulness import KindFaithfulness
from modelshapley.maps.importance import ImportanceMap
from modelshapley.maps.parquet import to_parquet
from modelshapley.maps.publishing import map_files
from modelshapley.models.catalog import ASSETS
from modelshapley.units import UnitKind
from tests.support.command_line import run
from tests.support.fake_hub import Kind, fake_hub
from tests.support.packages import ROOT

TOKEN = "hf_not_to_be_printed_0123456789"
PROVENANCE = {"model": "demo:digits-vit", "revision": "3adf", "task": "digits|<b>", "n": 64, "seed": 3}


@dataclass
class Commands:
    """The command line with a hub. asked: what the hub was asked."""

    address: str
    asked: list[str]
    folder: Path

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        own = {
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": self.address,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",  # its protocol is a compiled client's, which the fake does not speak
        }
        answer = subprocess.run(
            [sys.executable, "-m", "modelshapley.cli", *arguments],
            cwd=self.folder,
            env=surroundings | own | environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        for text in (answer.stdout, answer.stderr):
            assert TOKEN not in text
            assert "Traceback" not in text
        return answer

    @property
    def written(self) -> list[str]:
        return [line for line in self.asked if not line.startswith(("GET", "HEAD"))]


@pytest.fixture
def importance_map(tmp_path: Path) -> ImportanceMap:
    heads = np.random.default_rng(0).random((3, 4))
    heads[2, 3] = np.nan
    scores = {UnitKind.HEAD: heads, UnitKind.LAYER: np.array([0.5, 0.25, 1 / 3])}
    errors = {kind: np.full(values.shape, 0.125) for kind, values in scores.items()}
    made = ImportanceMap("two-sided", "loss increase (nats)", False, scores, errors, PROVENANCE)
    made.save(tmp_path / "digits.safetensors")
    return made


@pytest.fixture
def check(tmp_path: Path) -> Path:
    verdict = Verdict(mark=Mark.RELIABLE, sentence="The least important heads can go.")
    entries = [KindFaithfulness(method="two-sided", unit=UnitKind.HEAD, verdict=verdict)]
    report = Faithfulness(run="1", effort="full", status=Status.DONE, progress=Progress(done=1, total=1), maps=entries)
    (tmp_path / "check.json").write_text(report.model_dump_json())
    return tmp_path / "check.json"


def hub(tmp_path: Path, kind: Kind) -> Iterator[Commands]:
    with fake_hub("some-one/thing", tmp_path / "remote", kind=kind, token=TOKEN) as (address, asked):
        yield Commands(address, asked, tmp_path)


@pytest.fixture
def datasets(tmp_path: Path) -> Iterator[Commands]:
    yield from hub(tmp_path, "dataset")


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Commands]:
    yield from hub(tmp_path, "model")


@pytest.mark.slow  # six fresh processes
def test_a_map_goes_to_the_hub_and_comes_back_bit_for_bit(
    datasets: Commands, importance_map: ImportanceMap, check: Path, tmp_path: Path
) -> None:
    publish = ("publish", "digits.safetensors", "--to", "some-one/thing", "--check", check.name)
    looked = datasets(*publish, "--dry-run")
    assert looked.returncode == 0, looked.stderr
    assert "head.parquet" in looked.stdout
    assert datasets.asked == [], "nothing is asked before something is to be sent"
    refused = datasets(*publish, stdin="n\n")
    assert refused.returncode == 1
    assert "dataset some-one/thing (new, private)" in refused.stdout
    assert datasets.written == []
    sent = datasets(*publish, stdin="y\n")
    assert sent.returncode == 0, sent.stderr
    assert "/datasets/some-one/thing/commit/" in sent.stdout
    assert "created private" in datasets.asked
    remote = tmp_path / "remote"
    names = {"README.md", "map.safetensors", "head.parquet", "layer.parquet", "check.json"}
    assert {file.name for file in remote.iterdir()} == names
    for kind in importance_map.scores:
        assert (remote / f"{kind.value}.parquet").read_bytes() == to_parquet(importance_map, kind)
    fetched = datasets("fetch", "some-one/thing", "--out", "back.safetensors", HF_TOKEN="")
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "digits.safetensors").read_bytes()
    again = datasets(*publish, "--yes")
    assert "exists, and gets a commit" in again.stdout
    (remote / "map.safetensors").write_bytes(b"something else")
    bad = datasets("fetch", "some-one/thing", "--out", "bad.safetensors")
    assert "cannot be used: not an importance map" in bad.stderr.replace("\n", " ")
    assert not (tmp_path / "bad.safetensors").exists()


def test_the_card_of_a_map_says_what_it_was_computed_from(
    datasets: Commands, importance_map: ImportanceMap, check: Path
) -> None:
    report = Faithfulness.model_validate_json(check.read_bytes())
    card = map_files(datasets.folder / "digits.safetensors", "some-one/thing", report)["README.md"].decode()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["configs"] == [
        {"config_name": "head", "data_files": "head.parquet"},
        {"config_name": "layer", "data_files": "layer.parquet"},
    ]
    for row in ("| revision | 3adf |", "| n | 64 |", "| seed | 3 |", "| task | digits\\|\\<b\\> |"):
        assert row in text
    assert "- **heads: reliable.** The least important heads can go." in text
    unchecked = map_files(datasets.folder / "digits.safetensors", "some-one/thing")["README.md"].decode()
    assert "It has not been checked" in unchecked


@pytest.mark.slow  # four fresh processes
def test_a_derived_model_goes_to_the_hub_and_comes_back(models: Commands, tmp_path: Path) -> None:
    small = tmp_path / "small"
    shutil.copytree(ASSETS / "digits-vit", small)
    record = {"format": "modelshapley.derived.v1", "parent": "/data/own/digits"}
    (small / "modelshapley.json").write_text(json.dumps(record))
    (small / "README.md").write_text("---\nlibrary_name: transformers\n---\n# Smaller\n")
    (small / "optimizer.pt").write_bytes(b"pickled")
    (small / ".env").write_text("SECRET=1")
    sent = models("publish", "small", "--to", "some-one/thing", "--public", "--yes")
    assert sent.returncode == 0, sent.stderr
    assert "model some-one/thing (new, public)" in sent.stdout
    assert "created public" in models.asked
    notes = " ".join(sent.stderr.split())
    assert "Not sent: .env, .gitignore, optimizer.pt" in notes or "Not sent: .env, optimizer.pt" in notes
    assert "'/data/own/digits', is among what is sent" in notes
    fetched = models("fetch", "some-one/thing", "--out", "back")
    assert fetched.returncode == 0, fetched.stderr
    for folder in (tmp_path / "remote", tmp_path / "back"):
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert files == {name: (small / name).read_bytes() for name in files}
        assert {"README.md", "config.json", "model.safetensors", "modelshapley.json"} <= {*files}
        assert not {"optimizer.pt", ".env"} & {*files}
    (tmp_path / "remote" / "modelshapley.json").write_text("{}")
    assert "is no derived model" in models("fetch", "some-one/thing", "--out", "other").stderr.replace("\n", " ")


@pytest.mark.slow  # four fresh processes
@pytest.mark.usefixtures("importance_map")
def test_what_a_hub_refuses_is_said(datasets: Commands, tmp_path: Path) -> None:
    send = ("publish", "digits.safetensors", "--to", "some-one/thing", "--yes")
    for arguments, environment, words in (
        (send, {"HF_TOKEN": ""}, "Publishing needs a token"),
        (send, {"HF_TOKEN": "hf_wrong"}, "did not accept the dataset"),
        (send, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "does not answer, so nothing was sent"),
        (("fetch", "some-one/thing", "--out", "x"), {}, "neither a dataset 'some-one/thing' with a map"),
    ):
        answer = datasets(*arguments, **environment)
        assert answer.returncode == 1, arguments
        assert words in answer.stderr.replace("\n", " "), answer.stderr
    assert not (tmp_path / "remote").exists()


@pytest.mark.usefixtures("importance_map")
def test_what_cannot_be_sent_or_fetched_is_said(tmp_path: Path, check: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.safetensors").write_text("no map")
    other = json.loads(check.read_text())
    other["maps"][0]["method"] = "gradient-trace"
    (tmp_path / "other.json").write_text(json.dumps(other))
    to, file = ("--to", "some-one/thing", "--yes"), "digits.safetensors"
    for arguments, words in (
        (("publish", file, "--to", "thing", "--yes"), "A repository is OWNER/NAME, not 'thing'"),
        (("publish", "folder", *to), "'folder' is no derived model"),
        (("publish", "text.safetensors", *to), "not an importance map"),
        (("publish", file, *to, "--check", "other.json"), "is of gradient-trace, and the map is by two-sided"),
        (("publish", file, *to, "--check", "text.safetensors"), "is not a check"),
        (("fetch", "some-one/thing", "--out", "folder"), "exists already"),
        (("fetch", "../thing", "--out", "x"), "A repository is OWNER/NAME or OWNER/NAME@REVISION"),
    ):
        answer = run(*arguments, cwd=tmp_path)
        assert answer.returncode == 1, arguments
        assert words in answer.stderr.replace("\n", " "), answer.stderr
        assert "Traceback" not in answer.stderr
