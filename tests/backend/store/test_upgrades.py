"""A data directory of an older version opens in this one, and a backup restores what was there.

data-0.2.0.tar.gz was made by scripts/make_data_fixture.py with the version before named keys.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from backend.commands.backup import backup, restore
from backend.settings import Settings
from backend.store.files import Storage
from backend.store.records import Records
from backend.store.schema import migrate
from modelshapley.contracts import Run, Status
from modelshapley.errors import ModelShapleyError
from tests.support.in_process import serving

OLD = Path(__file__).parent / "data-0.2.0.tar.gz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def test_everything_in_an_old_directory_is_there(old: Path) -> None:
    with serving(old) as web:
        runs = [Run.model_validate(run) for run in web.get("/api/v1/runs").json()["items"]]
        waiting, done = sorted(runs, key=lambda run: run.status is Status.DONE)
        assert (waiting.status, done.status, done.owner) == (Status.QUEUED, Status.DONE, None)
        heads = web.get(f"/api/v1/runs/{done.id}/maps/two-sided/head").json()
        assert heads["shape"] == [4, 4]
        assert heads["provenance"]["n"] == 64
        report = web.get(f"/api/v1/runs/{done.id}/faithfulness").json()
        assert report["status"] == "done"
        assert report["maps"][0]["agreement"] is not None
        (trial,) = web.get(f"/api/v1/runs/{done.id}/trials").json()
        assert trial["off"]["head"] == [[1, 2], [3, 0]]
        assert 0 < trial["accuracy"] < 1
        (group,) = web.get("/api/v1/groups", params={"model": done.model}).json()
        assert group["name"] == "two heads"
        queues = {queue["name"]: queue["waiting"] for queue in web.get("/api/v1/queues").json()}
        assert queues["runs"] == 1, "the run that never started is queued again"


def test_a_backup_restores_what_was_there(old: Path, tmp_path: Path) -> None:
    migrate(Settings(data=old).records_url)
    file, new = tmp_path / "backup.tar", tmp_path / "new"
    (old / "runs" / "half.safetensors.part").write_bytes(b"being written")
    command = [sys.executable, "-m", "modelshapley.cli"]
    for line in (["backup", str(file), "--data", str(old)], ["restore", str(file), "--data", str(new)]):
        done = subprocess.run([*command, *line], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(old)
    records = Records(Settings(data=new).records_url)
    (run,) = [run for run in records.runs(10, 0).items if run.status is Status.DONE]
    assert Storage(str(new)).load_map(run.id, "two-sided").provenance["n"] == 64
    assert len(records.trials(run.id, 10)) == 1
    assert not list(new.rglob("*.part"))
    assert new.stat().st_mode & 0o077 == 0
    records.close()


def test_a_restore_overwrites_nothing_and_takes_only_backups(old: Path, tmp_path: Path) -> None:
    settings = Settings(data=old)
    backup(settings, tmp_path / "backup.tar")
    with pytest.raises(ModelShapleyError, match="not empty"):
        restore(settings, tmp_path / "backup.tar")
    (tmp_path / "text.tar").write_text("no tar")
    with pytest.raises(ModelShapleyError, match=r"text\.tar cannot be read"):
        restore(Settings(data=tmp_path / "new"), tmp_path / "text.tar")
    with pytest.raises(ModelShapleyError, match=r"no records\.sqlite"):
        backup(Settings(data=tmp_path / "nowhere"), tmp_path / "backup.tar")
