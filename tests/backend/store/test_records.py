"""The database: one truth, whatever the order of those who write."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

import backend.store.schema
from backend.store.progress import seconds_left
from backend.store.records import Records
from backend.store.schema import migrate, migrations
from backend.store.tables import Base, ShardRow
from modelshapley.contracts import Layout, RunRequest, Status
from modelshapley.contracts.task_files.file import TaskFile, parse
from modelshapley.errors import Conflict, NotFound
from modelshapley.units import Deactivation, Treatment, UnitKind

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


def test_runs_from_before_there_were_shards_are_kept_as_undivided_ones(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    config = Config()
    config.set_main_option("script_location", str(Path(backend.store.schema.__file__).parent / "migrations"))
    config.attributes["url"] = url
    command.upgrade(config, "0002")
    with create_engine(url).begin() as connection:
        columns: dict[str, str | int] = {
            "id": "old",
            "model": "demo:digits-vit",
            "task": "digits",
            "methods": '["mean-abs"]',
        }
        columns |= {"units": '["head"]', "limit": 8, "seed": 0, "status": "running", "done": 4, "total": 8}
        columns |= {"shapes": '{"head": [4, 4]}', "created": "2026-01-01"}
        names = ", ".join(f'"{name}"' for name in columns)
        values = ", ".join(f":{name}" for name in columns)
        connection.execute(text(f"INSERT INTO runs ({names}) VALUES ({values})"), columns)
    migrate(url)
    run = Records(url).run("old")
    assert (run.shards, run.per_class, run.classes, run.progress.done) == (1, False, {}, 4)
    told = Records(url).update_shard("old", 1, done=6, size=8, rate=1.0, total=8)
    assert told is not None
    assert told.progress.done == 6
    command.downgrade(config, "0002")
    with create_engine(url).begin() as connection:
        assert connection.execute(text("SELECT done FROM runs")).scalar() == 6


def test_processes_that_start_together_do_not_trip_over_the_migration(tmp_path: Path) -> None:
    code = f"from backend.store.schema import migrate; migrate('sqlite:///{tmp_path}/new/records.sqlite')"
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
    trial = records.request_trial(run.id, off)
    assert records.request_trial(run.id, off).id != trial.id
    records.update_trial(trial.id, status=Status.DONE, n=9, total=9)
    again = Deactivation.of({UnitKind.HEAD: [(1, 2), (0, 1)]})
    assert records.request_trial(run.id, again).id == trial.id
    for other in (
        Deactivation.of({UnitKind.HEAD: [(0, 1)]}),
        Deactivation.of({UnitKind.HEAD: [(0, 1), (1, 2)]}, Treatment("scale", 0.5)),
    ):
        assert records.request_trial(run.id, other).status is Status.QUEUED


def test_what_is_not_there_is_named(records: Records) -> None:
    with pytest.raises(NotFound, match="no run 'nope'"):
        records.run("nope")


def test_the_progress_of_a_run_is_the_sum_over_its_shards_and_a_resumed_one_counts_once(records: Records) -> None:
    run = records.add_run(REQUEST.model_copy(update={"shards": 3}), SHAPES, Layout())
    for number, done in ((1, 40), (2, 30), (1, 80)):
        told = records.update_shard(run.id, number, done=done, size=90, rate=10.0, total=256)
    assert told is not None
    assert (told.progress.done, told.progress.total) == (110, 256)
    assert told.progress.eta_s == pytest.approx(146 / 20, abs=0.1)
    resumed = records.update_shard(run.id, 1, done=60, size=90, rate=None, total=256)
    assert resumed is not None
    assert resumed.progress.done == 90
    assert resumed.progress.eta_s == pytest.approx(166 / 10, abs=0.1), "only shard 2 has a pace now"
    records.update_shard(run.id, 2, done=90, size=90, rate=10.0, total=256)
    assert records.unfinished_shards(run) == [1, 3]
    assert records.update_run(run.id, status=Status.CANCELLED) is not None
    assert records.update_shard(run.id, 3, done=5, size=76, rate=1.0, total=256) is None
    assert records.run(run.id).progress.done == 150


def test_shards_that_tell_at_the_same_time_do_not_lose_each_others_progress(records: Records) -> None:
    run = records.add_run(REQUEST.model_copy(update={"shards": 8}), SHAPES, Layout())

    def tell(number: int) -> None:
        for done in range(1, 11):
            assert records.update_shard(run.id, number, done=done, size=10, rate=1.0, total=80) is not None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(1, 9)))
    assert records.run(run.id).progress.done == 80
    assert records.run(run.id).progress.eta_s == 0
    assert records.unfinished_shards(run) == []


def test_time_left_is_not_shorter_than_the_slowest_shard_needs() -> None:
    now = datetime.now(UTC)
    fast = ShardRow(run="r", number=1, done=10, size=50, rate=100.0, told=now)
    slow = ShardRow(run="r", number=2, done=10, size=50, rate=1.0, told=now)
    silent = ShardRow(run="r", number=3, done=10, size=50, rate=1000.0, told=now - timedelta(minutes=5))
    assert seconds_left([fast, slow, silent], 150, now) == 40
    assert seconds_left([silent], 150, now) is None


def test_when_a_run_began_stays_when_another_worker_takes_it(records: Records) -> None:
    run = records.add_run(REQUEST, SHAPES, Layout())
    first = records.begin_run(run.id, "one")
    second = records.begin_run(run.id, "two")
    assert first is not None
    assert second is not None
    assert first.started == second.started is not None
    assert second.worker == "two"


def test_a_run_that_is_dropped_takes_its_shards_along(records: Records) -> None:
    run = records.add_run(REQUEST.model_copy(update={"shards": 2}), SHAPES, Layout())
    records.update_shard(run.id, 1, done=0, size=5, rate=None, total=10)
    records.drop_run(run.id)
    with pytest.raises(NotFound):
        records.run(run.id)


def own_task(name: str = "own", text: str = "text") -> TaskFile:
    data = {"kind": "language-modelling", "name": name, "source": {"path": "x"}, "text": text}
    spec: TaskFile = parse(data, name)
    return spec


def test_a_task_is_added_once_and_keeps_its_name(records: Records) -> None:
    for _ in range(2):
        records.add_task(own_task())
    with pytest.raises(Conflict, match="Another task is called 'own'"):
        records.add_task(own_task(text="body"))
    records.add_task(own_task("second"))
    assert list(records.tasks()) == ["own", "second"]
    assert records.tasks()["own"] == own_task()


def test_a_task_that_runs_use_is_kept_until_they_have_failed(records: Records) -> None:
    records.add_task(own_task())
    run = records.add_run(REQUEST.model_copy(update={"task": "own"}), SHAPES, Layout())
    with pytest.raises(Conflict, match=run.id):
        records.drop_task("own")
    records.update_run(run.id, status=Status.FAILED, error="no data")
    records.drop_task("own")
    assert records.tasks() == {}
    with pytest.raises(NotFound, match="'own'"):
        records.drop_task("own")


def test_what_is_told_of_a_runs_task_is_kept(records: Records) -> None:
    run = records.add_run(REQUEST, SHAPES, Layout())
    assert (run.task_fingerprint, run.notes) == (None, [])
    records.update_run(run.id, task_fingerprint="a" * 64, notes=["3 rows left out"])
    assert (records.run(run.id).task_fingerprint, records.run(run.id).notes) == ("a" * 64, ["3 rows left out"])


def test_migrations_lead_from_the_first_schema_to_the_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    command.upgrade(migrations(url), "0001")
    insert = """INSERT INTO runs (id, model, task, methods, units, "limit", seed, status, done, total, shapes, created)
    VALUES ('old', 'demo:digits-vit', 'digits', '["mean-abs"]', '["head"]', 8, 0, 'done', 8, 8, '{"head": [4, 4]}',
    '2026-01-01 00:00:00')"""
    with create_engine(url).begin() as connection:
        connection.execute(text(insert))
    migrate(url)
    run = Records(url).run("old")
    assert (run.status, run.shards, run.owner) == (Status.DONE, 1, None)
    with create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    command.downgrade(migrations(url), "0001")
