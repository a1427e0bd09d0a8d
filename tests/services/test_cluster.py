"""The main job on PostgreSQL, a Redis with TLS and ACL, and an S3-compatible store, while processes are killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
import redis
import s3fs

from backend.store.files import Storage
from modelshapley.client import ApiError, ApiUnreachable, Client
from modelshapley.contracts import Off, Run, RunRequest, Status, TrialRequest
from modelshapley.server.addresses import free_port
from tests.conftest import DIGITS_RUN, StartServer
from tests.support.fork_server import start_process
from tests.support.services.postgres import postgres_running
from tests.support.services.redis_tls import redis_with_tls
from tests.support.services.swift import BUCKET, swift_running

pytestmark = [pytest.mark.services, pytest.mark.slow]
WORKERS, WEBS, SEEDS = 3, 2, 4
OFF = Off(head=[(0, 0), (1, 2)])


class Cluster:
    """Web servers and workers as an operator starts them, each a process of its own."""

    def __init__(self, data: Path, environment: Mapping[str, str]) -> None:
        self.data, self._log = data, (data / "cluster.log").open("ab")
        self._environment = os.environ | environment | {"MODELSHAPLEY_DATA": str(data)}
        self.ports = [free_port() for _ in range(WEBS)]
        self.webs = [self.start_web(port) for port in self.ports]
        self.workers = [self.start_worker() for _ in range(WORKERS)]

    def start_web(self, port: int) -> subprocess.Popen[bytes]:
        return self._start("uvicorn", "frontend.asgi:create", "--factory", "--host", "127.0.0.1", "--port", str(port))

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self._start("workers.main")

    def client(self, number: int) -> Client:
        return Client(f"http://127.0.0.1:{self.ports[number]}")

    def stop(self) -> None:
        for process in (*self.webs, *self.workers):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(30)
        self._log.close()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        # Not forked: fsspec reads its variables while it is imported.
        return start_process(*arguments, env=self._environment, stdout=self._log, stderr=self._log)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("services")
    with (
        postgres_running(folder) as database,
        redis_with_tls(folder / "redis") as queue,
        swift_running(folder / "swift") as store,
    ):
        urls = {"DATABASE_URL": database, "REDIS_URL": queue, "STORAGE_URL": f"s3://{BUCKET}/shapley"}
        yield store | {f"MODELSHAPLEY_{name}": url for name, url in urls.items()}


@pytest.fixture
def cluster(services: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, services | {"MODELSHAPLEY_CHECKPOINT_SECONDS": "0.01"})
    try:
        insist(lambda: workers_of(cluster, WORKERS), 240)
        yield cluster
    finally:
        cluster.stop()


def insist(ask: Callable[[], Any], seconds: float = 120) -> Any:
    """Ask again until there is an answer: a web server may have been killed."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = ask()
        except (ApiError, ApiUnreachable):
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline
        time.sleep(0.1)


def workers_of(cluster: Cluster, count: int) -> bool:
    with cluster.client(0) as first, cluster.client(1) as second:
        return len(first.workers()) >= count and second.health().status == "ok"


def request(seed: int) -> RunRequest:
    return DIGITS_RUN.model_copy(update={"seed": seed, "shards": 1 + 2 * (seed % 2), "faithfulness": "quick"})


def results(api: Client, run: Run) -> dict[str, Any]:
    """Every digit of all maps of a run."""
    maps = {(link.method, link.unit): api.importance_map(run.id, link.method, link.unit) for link in run.maps}
    return {f"{method} {unit.value}": (data.scores, data.standard_errors) for (method, unit), data in maps.items()}


@pytest.mark.timeout(600)
def test_the_main_job_with_kills_gives_the_maps_of_an_undisturbed_run_on_sqlite(
    cluster: Cluster, start_server: StartServer
) -> None:
    with cluster.client(0) as first, cluster.client(1) as second:
        runs = [(first if seed % 2 else second).submit_run(request(seed)) for seed in range(SEEDS)]
        insist(lambda: any(worker.current for worker in second.workers()))
        cluster.workers[0].kill()
        insist(lambda: second.run(runs[0].id).progress.done)
        cluster.webs[0].kill()
        cluster.workers[1].kill()
        for old in (cluster.webs[0], *cluster.workers[:2]):
            old.wait(30)
        cluster.workers[:2] = [cluster.start_worker(), cluster.start_worker()]
        ended = [insist(partial(finished, second, run.id), 240) for run in runs]
        cluster.webs[0] = cluster.start_web(cluster.ports[0])
        assert insist(lambda: first.health().status == "ok")
        trial = first.measure(TrialRequest(run=runs[0].id, off=OFF))
        assert trial.status is Status.DONE
        checks = [insist(partial(checked, first, run.id), 240) for run in runs]
        maps = [results(second, run) for run in ended]
        assert second.runs(limit=100).total == SEEDS
    server = start_server()
    with Client(server.url) as plain:
        for seed in range(SEEDS):
            run = plain.wait(plain.submit_run(request(seed)).id)
            expected = results(plain, run)
            assert maps[seed].keys() == expected.keys()
            different = [name for name, values in expected.items() if maps[seed][name] != values]
            assert not different, f"seed {seed}: {different}"
            report = plain.checked(run.id)
            assert [entry.least for entry in checks[seed].maps] == [entry.least for entry in report.maps]
            if seed == 0:
                alone = plain.measure(TrialRequest(run=run.id, off=OFF))
                assert (alone.accuracy, alone.n) == (trial.accuracy, trial.n)
    assert not (cluster.data / "runs").exists(), "maps are in the store alone"
    assert not (cluster.data / "records.sqlite").exists()


def finished(api: Client, run_id: str) -> Run | None:
    run = api.run(run_id)
    assert run.status not in (Status.FAILED, Status.CANCELLED), run.error
    return run if run.status is Status.DONE else None


def checked(api: Client, run_id: str) -> Any:
    report = api.faithfulness(run_id)
    assert report.status is not Status.FAILED, report.error
    return report if report.status is Status.DONE else None


@pytest.mark.timeout(300)
def test_a_removed_run_leaves_nothing_in_the_store(services: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = {name.removeprefix("FSSPEC_S3_").lower(): value for name, value in services.items() if "_S3_" in name}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    storage, files = Storage(f"s3://{BUCKET}/other"), s3fs.S3FileSystem()
    for shard in (1, 2):
        storage.save_sums("run", shard, b"sums" * 300_000)
    storage.save_intact("run", b"answers")
    assert storage.load_sums("run", 2) == b"sums" * 300_000
    storage.drop_sums("run")
    assert (storage.load_sums("run", 2), storage.load_intact("run")) == (None, b"answers")
    for _ in range(2):
        storage.drop_run("run")
    files.invalidate_cache()
    assert files.find(f"{BUCKET}/other") == []


def test_the_queue_takes_its_own_user_over_tls_only(services: dict[str, str]) -> None:
    url = services["MODELSHAPLEY_REDIS_URL"]
    with redis.Redis.from_url(url) as connection:
        assert connection.ping()
        for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("SHUTDOWN",), ("ACL", "LIST")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                connection.execute_command(*command)
    with pytest.raises(redis.exceptions.ConnectionError), redis.Redis.from_url(url.split("?")[0]) as stranger:
        stranger.ping()
    with (
        pytest.raises(redis.exceptions.RedisError),
        redis.Redis.from_url(url.replace("rediss", "redis", 1).split("?")[0]) as open_,
    ):
        open_.ping()
