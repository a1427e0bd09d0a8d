"""Accepted work survives killed workers, a Redis that goes away, and a restart; locked doors stay locked."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis

from backend.settings import Settings
from backend.store.records import Records
from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, Run, Status, TrialRequest
from modelshapley.evaluation.intervals import pack
from modelshapley.server.redis_server import RedisServer
from tests.conftest import CAPITALS_RUN, DIGITS_RUN, StartServer
from tests.support.fork_server import fork_server
from tests.support.short_model import put_short_model

LONG_RUN = DIGITS_RUN.model_copy(
    update={
        "methods": ["mean-abs", "path-shapley,points=16"],
        "units": ["head"],
        "limit": 256,
        "seed": 3,
        "faithfulness": "none",
    }
)
SLOW_RUN = CAPITALS_RUN.model_copy(update={"seed": 3})


def until_scoring(api: Client, run_id: str) -> Run:
    for event in api.run_events(run_id):
        if event.data.progress.done >= 16:
            return event.data
    pytest.fail("the run ended before it could be disturbed")


def worker_pids(api: Client) -> list[int]:
    return [worker.pid for worker in api.workers() if worker.pid is not None]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_whose_worker_is_killed_goes_on_from_its_checkpoint(start_server: StartServer) -> None:
    server = start_server(MODELSHAPLEY_CHECKPOINT_SECONDS="0.01")
    with Client(server.url) as api:
        run = api.submit_run(LONG_RUN)
        until_scoring(api, run.id)
        (pid,) = worker_pids(api)
        os.kill(pid, signal.SIGKILL)
        checkpoint = server.data / "runs" / run.id / "sums-1.safetensors"
        assert checkpoint.exists()
        finished = api.wait(run.id)
        assert finished.status is Status.DONE, finished.error
        assert finished.progress.done == LONG_RUN.limit
        assert finished.worker != run.worker
        gone_by = time.monotonic() + 10
        while checkpoint.exists():
            assert time.monotonic() < gone_by
            time.sleep(0.1)
        killed = api.importance_map(run.id, "mean-abs", "head")
        calm = api.wait(api.submit_run(LONG_RUN).id)
        undisturbed = api.importance_map(calm.id, "mean-abs", "head")
        assert killed.provenance["n"] == undisturbed.provenance["n"] == LONG_RUN.limit
        assert killed.scores == [[pytest.approx(s, rel=1e-4) for s in row] for row in undisturbed.scores]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_redis_gone_for_ten_seconds(start_server: StartServer, tmp_path: Path) -> None:
    plan = RedisServer.plan(tmp_path)
    process = plan.start()
    server = start_server(MODELSHAPLEY_REDIS_URL=plan.url)
    try:
        with Client(server.url) as api:
            assert api.wait(api.submit_run(DIGITS_RUN).id).status is Status.DONE
            run = api.submit_run(SLOW_RUN.model_copy(update={"model": put_short_model(server.data)}))
            until_scoring(api, run.id)
            process.kill()
            process.wait()
            gone = time.monotonic()
            for call in (api.health, lambda: api.submit_run(DIGITS_RUN), lambda: api.workers()):
                with pytest.raises(ApiError) as refused:
                    call()
                assert refused.value.problem.status == 503
                assert "Redis" in refused.value.problem.detail
            assert api.runs().total == 2, "a run that could not be queued must not be listed"
            assert api.run(run.id).id == run.id, "what needs no Redis still answers"
            time.sleep(max(0.0, 10 - (time.monotonic() - gone)))
            process = plan.start()
            deadline = time.monotonic() + 120
            while api.run(run.id).status is not Status.DONE and time.monotonic() < deadline:
                time.sleep(0.5)
            assert api.run(run.id).status is Status.DONE
            assert api.wait(api.submit_run(DIGITS_RUN).id).status is Status.DONE
            assert api.health().status == "ok"
    finally:
        server.stop()
        process.kill()
        process.wait()


def test_a_restart_keeps_runs_maps_and_the_queue(start_server: StartServer) -> None:
    first = start_server("--workers", "0")
    with Client(first.url) as api:
        assert api.health().status == "degraded"
        waiting = api.submit_run(DIGITS_RUN)
    assert first.stop() == 0
    second = start_server(data=first.data)
    with Client(second.url) as api:
        done = api.wait(waiting.id)
        assert done.status is Status.DONE, done.error
        assert api.measure(TrialRequest(run=done.id, off=Off(layer=[0]))).status is Status.DONE


@pytest.mark.slow
def test_a_queue_that_was_wiped_is_filled_again_from_the_records(start_server: StartServer) -> None:
    first = start_server("--workers", "0")
    with Client(first.url) as api:
        waiting = api.submit_run(DIGITS_RUN)
    first.stop()
    for file in (first.data / "redis").rglob("*.aof"):
        file.unlink()
    for file in (first.data / "redis" / "appendonlydir").glob("*"):
        file.unlink()
    second = start_server(data=first.data)
    with Client(second.url) as api:
        assert api.wait(waiting.id).status is Status.DONE


@pytest.mark.slow
def test_what_is_recorded_but_was_never_queued_is_found_by_a_worker(start_server: StartServer) -> None:
    """A worker or server killed between its records and the queue leaves work that no job stands for."""
    server = start_server()
    records = Records(Settings(data=server.data).records_url)
    with Client(server.url) as api:
        done = api.wait(api.submit_run(DIGITS_RUN.model_copy(update={"faithfulness": "none"})).id)
        asked = Off(head=[(1, 1), (2, 3)])
        trial = records.request_trial(done.id, asked.deactivation())
        given_way = records.request_trial(done.id, Off(layer=[1]).deactivation())
        assert records.begin_trial(given_way.id, 0, "a worker that is killed") is not None
        assert records.yield_trial(given_way.id, pack(np.array([True, False]))) is not None
        run = records.add_run(DIGITS_RUN.model_copy(update={"units": done.units}), done.shapes, done.layout)
        deadline = time.monotonic() + 60
        while not (api.trial(trial.id).status.ended and api.trial(given_way.id).status.ended):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert api.wait(run.id).status is Status.DONE
        assert api.trial(trial.id).n == api.trial(given_way.id).n == 360
    records.close()


def children(pid: int) -> list[int]:
    text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in text.split()]


def test_stopping_takes_every_child_along(start_server: StartServer) -> None:
    server = start_server()
    pids = children(server.process.pid)
    assert len(pids) == 3  # Redis, web, worker
    assert server.stop() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_killed_supervisor_takes_every_child_along(start_server: StartServer) -> None:
    server = start_server()
    pids = children(server.process.pid)
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_does_not_wait_for_a_redis_that_is_gone(tmp_path: Path) -> None:
    """Its supervisor was killed, say, and Redis with it: nobody would ever end it."""
    plan = RedisServer.plan(tmp_path)
    redis_process = plan.start()
    environment = {"MODELSHAPLEY_DATA": str(tmp_path), "MODELSHAPLEY_REDIS_URL": plan.url}
    with (tmp_path / "log").open("w") as log:
        worker = fork_server().start("workers.main", env=os.environ | environment, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while "jobs from" not in (tmp_path / "log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    redis_process.kill()
    redis_process.wait()
    worker.terminate()
    assert worker.wait(timeout=60) != 0


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_two_servers_do_not_share_a_data_directory(start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    command = [sys.executable, "-m", "modelshapley.cli", "up", "--port", "0", "--data", str(server.data)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "already uses" in second.stderr
    assert "Traceback" not in second.stderr


def test_another_address_than_loopback_needs_a_key() -> None:
    command = [sys.executable, "-m", "modelshapley.cli", "up", "--port", "0", "--host", "0.0.0.0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "MODELSHAPLEY_API_KEY" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_with_a_key_nothing_but_health_is_open(start_server: StartServer) -> None:
    server = start_server("--workers", "0", MODELSHAPLEY_API_KEY="correct horse")
    for path in ("/api/v1/runs", "/", "/_dash-layout", "/api/openapi.json"):
        answer = httpx.get(server.url + path)
        assert answer.status_code == 401, path
        assert "Basic" in answer.headers["www-authenticate"]
    assert httpx.get(server.url + "/api/v1/health").status_code == 200
    basic = base64.b64encode(b"me:correct horse").decode()
    assert httpx.get(server.url + "/", headers={"Authorization": f"Basic {basic}"}).status_code == 200
    with Client(server.url, api_key="wrong") as api, pytest.raises(ApiError, match="401"):
        api.runs()
    with Client(server.url, api_key="correct horse") as api:
        assert api.runs().total == 0
    assert "correct horse" not in (server.data / "up.log").read_text()


def test_redis_takes_nobody_without_its_password(tmp_path: Path) -> None:
    plan = RedisServer.plan(tmp_path)
    process = plan.start()
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                assert redis.Redis.from_url(plan.url).ping()
                break
            except redis.exceptions.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=plan.port).ping()
        assert plan.password not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        process.kill()
        process.wait()
