"""Damaged files are errors of the server that say what to do, and a check can be cancelled and repeated."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from backend.settings import Settings
from backend.store.files import Storage
from backend.store.records import Records
from backend.store.schema import migrate
from modelshapley.contracts import Faithfulness, Layout, Run, RunRequest, Status
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind
from tests.support.in_process import serving

SHAPES = {UnitKind.HEAD: [4, 4]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("damaged")
    data.chmod(0o755)  # as older versions made it
    return data


@pytest.fixture(scope="module")
def records(data: Path) -> Iterator[Records]:
    url = Settings(data=data).records_url
    migrate(url)
    records = Records(url)
    yield records
    records.close()


@pytest.fixture(scope="module")
def web(data: Path, records: Records) -> Iterator[TestClient]:
    with serving(data) as client:
        yield client


@pytest.fixture
def run(data: Path, records: Records) -> Run:
    """A finished run whose check waits, with its files."""
    request = RunRequest(model="demo:digits-vit", task="digits", units=[UnitKind.HEAD])
    added = records.add_run(request, SHAPES, Layout())
    records.update_run(added.id, status=Status.DONE, checks=Status.QUEUED)
    run, storage = records.run(added.id), Storage(str(data))
    scores = {UnitKind.HEAD: np.ones((4, 4))}
    storage.save_map(run.id, ImportanceMap("two-sided", "nats", False, scores, scores))
    storage.save_report(Faithfulness.unmeasured(run, {}))
    return run


def spoil(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_damaged_map_is_an_error_of_the_server_that_names_the_file(web: TestClient, data: Path, run: Run) -> None:
    path = f"/api/v1/runs/{run.id}/maps/two-sided/head"
    spoil(data / "runs" / run.id / "two-sided.safetensors")
    answer = web.get(path)
    assert answer.status_code == 500
    assert f"runs/{run.id}/two-sided.safetensors" in answer.json()["detail"]
    assert "Submit the run again" in answer.json()["detail"]


def test_a_damaged_report_can_be_made_again(web: TestClient, data: Path, run: Run, records: Records) -> None:
    path = f"/api/v1/runs/{run.id}/faithfulness"
    assert web.get(path).status_code == 200
    records.update_checks(run.id, Status.DONE)
    assert web.post(path, json={"effort": "quick"}).status_code == 409
    spoil(data / "runs" / run.id / "faithfulness.json")
    answer = web.get(path)
    assert answer.status_code == 500
    assert f"runs/{run.id}/faithfulness.json" in answer.json()["detail"]
    assert "faithfulness)" in answer.json()["detail"]
    assert web.post(path, json={"effort": "quick"}).status_code == 202


def test_a_check_is_cancelled_once_and_can_be_requested_again(web: TestClient, run: Run) -> None:
    path = f"/api/v1/runs/{run.id}/faithfulness"
    assert web.delete(path).json()["checks"] == "cancelled"
    refused = web.delete(path)
    assert refused.status_code == 409
    assert run.id in refused.json()["detail"]
    assert web.get(path).json()["status"] == "cancelled"
    assert web.post(path, json={"effort": "quick"}).json()["status"] == "queued"


def test_a_directory_of_an_older_version_is_closed_to_others(web: TestClient, data: Path) -> None:
    assert web.get("/api/v1/health").status_code == 200
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
