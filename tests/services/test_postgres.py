"""The records on PostgreSQL: migrations from the first schema, several processes at once, and the main job."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from backend.store.database import now
from backend.store.records import Records
from backend.store.schema import migrate, migrations
from backend.store.tables import Base
from modelshapley.client import Client
from modelshapley.contracts import KeyRequest, Layout, Off, RunRequest, Status, TrialRequest
from modelshapley.errors import Conflict
from modelshapley.units import Deactivation, UnitKind
from tests.conftest import DIGITS_RUN, StartServer
from tests.support.services.postgres import postgres_running

pytestmark = [pytest.mark.services, pytest.mark.slow]
OLD_RUN = """
INSERT INTO runs (id, model, task, methods, units, "limit", seed, status, done, total, shapes, created)
VALUES ('old', 'demo:digits-vit', 'digits', '["mean-abs"]', '["head"]', 8, 0, 'done', 8, 8, '{"head": [4, 4]}', now())
"""
SHAPES = {UnitKind.HEAD: [4, 4]}
REQUEST = RunRequest(model="demo:digits-vit", task="digits", units=[UnitKind.HEAD])


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_running(tmp_path_factory.mktemp("services")) as url:
        yield url


@pytest.fixture
def database(postgres: str) -> str:
    """An empty database."""
    engine = create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return postgres


def test_migrations_lead_from_the_first_schema_to_the_tables_and_back(database: str) -> None:
    command.upgrade(migrations(database), "0001")
    with create_engine(database).begin() as connection:
        connection.execute(text(OLD_RUN))
    migrate(database)
    run = Records(database).run("old")
    assert (run.status, run.shards, run.owner) == (Status.DONE, 1, None)
    with create_engine(database).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    command.downgrade(migrations(database), "0001")


def test_records_do_what_they_do_on_sqlite(database: str) -> None:
    with ThreadPoolExecutor(4) as pool:  # processes that start together
        list(pool.map(migrate, [database] * 4))
    records = Records(database)
    run = records.add_run(REQUEST, SHAPES, Layout(), "ada")
    assert records.queued_of("ada") == 1
    records.update_run(run.id, status=Status.DONE)
    trial = records.request_trial(run.id, Deactivation.of({UnitKind.HEAD: [(0, 0)]}), leased=True)
    assert records.trial(trial.id).leased
    assert [found.id for found in records.runs(10, 0, search="VIT mean").items] == []
    assert [found.id for found in records.runs(10, 0, search="VIT two").items] == [run.id]
    key = records.add_key(KeyRequest(name="ada"))
    assert records.key_of(key.secret) is not None
    with pytest.raises(Conflict):
        records.add_key(KeyRequest(name="ada"))
    records.audit("ada", "submit_run", run.id)
    assert records.audit_entries(5)[0].key == "ada"
    assert records.expire_runs(now() + timedelta(seconds=1)) == [run.id]
    records.close()


def test_the_main_job_with_a_killed_worker(database: str, start_server: StartServer) -> None:
    server = start_server("--workers", "2", MODELSHAPLEY_DATABASE_URL=database, MODELSHAPLEY_CHECKPOINT_SECONDS="0.01")
    with Client(server.url) as api:
        runs = [api.submit_run(DIGITS_RUN.model_copy(update={"seed": seed, "shards": 2})).id for seed in range(2)]
        for event in api.run_events(runs[0]):
            if event.data.progress.done:
                break
        os.kill(api.workers()[0].pid or 0, signal.SIGKILL)
        assert [api.wait(run).status for run in runs] == [Status.DONE] * 2
        trial = api.measure(TrialRequest(run=runs[0], off=Off(head=[(0, 0)])))
        assert trial.status is Status.DONE
    assert not (server.data / "records.sqlite").exists()
    server.stop()
