"""The database: one truth, whatever the order of those who write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from backend.records import Records, migrate
from backend.tables import Base
from modelshapley.contracts import Layout, RunRequest, Status
from modelshapley.errors import NotFound
from modelshapley.units import Deactivation, UnitKind

SHAPES = {UnitKind.NEURON: [4, 40], UnitKind.HEAD: [4, 4], UnitKind.LAYER: [4]}
REQUEST = RunRequest(model="demo:digits-vit", task="digits", units=list(SHAPES))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    migrate(url)
    return Records(url)


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    migrate(url)
    with create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_processes_that_start_together_do_not_trip_over_the_migration(tmp_path: Path) -> None:
    code = f"from backend.records import migrate; migrate('sqlite:///{tmp_path}/new/records.sqlite')"
    command = [sys.executable, "-c", code]
    starting = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in starting:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def test_a_cancelled_run_stays_cancelled_whatever_a_worker_writes(records: Records) -> None:
    run = records.add_run(REQUEST, SHAPES, Layout())
    assert records.update_run(run.id, status=Status.RUNNING) is not None
    assert records.update_run(run.id, status=Status.CANCELLED) is not None
    assert records.update_run(run.id, status=Status.DONE, done=8) is None
    assert records.run(run.id).status is Status.CANCELLED
    assert records.run(run.id).finished is not None


def test_runs_are_paged_newest_first(records: Records) -> None:
    ids = [records.add_run(REQUEST, SHAPES, Layout()).id for _ in range(5)]
    page = records.runs(limit=2, offset=1)
    assert page.total == 5
    assert [run.id for run in page.items] == [ids[3], ids[2]]


def test_equal_deactivations_are_found_and_others_are_not(records: Records) -> None:
    run = records.add_run(REQUEST, SHAPES, Layout())
    off = Deactivation.of({UnitKind.HEAD: [(0, 1), (1, 2)]})
    trial = records.add_trial(run.id, off, None)
    assert records.measured_trial(run.id, off) is None
    records.update_trial(trial.id, status=Status.DONE)
    found = records.measured_trial(run.id, Deactivation.of({UnitKind.HEAD: [(1, 2), (0, 1)]}))
    assert found is not None
    assert found.id == trial.id
    assert records.measured_trial(run.id, Deactivation.of({UnitKind.HEAD: [(0, 1)]})) is None


def test_what_is_not_there_is_named(records: Records) -> None:
    with pytest.raises(NotFound, match="no run 'nope'"):
        records.run("nope")
