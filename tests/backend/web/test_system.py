"""How the machinery is, through the real API."""

from __future__ import annotations

import httpx
import pytest

from modelshapley.client import Client
from modelshapley.contracts import Run, RunRequest, Status
from tests.conftest import Server, StartServer

QUICK = RunRequest(model="demo:digits-vit", task="digits", methods=["mean-abs"], limit=8, faithfulness="none")
NO_DATA = """kind: image-classification
name: nowhere
source: {path: not-there}
probe: {split: train, share: 0.5}
test: {split: train, share: 0.5}
"""


def waiting(api: Client) -> dict[str, int]:
    return {queue.name: queue.waiting for queue in api.queues()}


def test_what_waits_is_counted(start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        assert waiting(api) == {"trials": 0, "runs": 0, "checks": 0}
        api.submit_run(QUICK)
        api.submit_run(QUICK.model_copy(update={"shards": 2, "limit": 64}))
        assert waiting(api) == {"trials": 0, "runs": 3, "checks": 0}
        assert api.failures() == []


def test_what_failed_says_why_newest_first_until_it_is_deleted(api: Client) -> None:
    api.add_task(NO_DATA)
    runs = [api.wait(api.submit_run(QUICK.model_copy(update={"task": "nowhere", "seed": seed})).id) for seed in (1, 2)]
    assert [run.status for run in runs] == [Status.FAILED] * 2
    newest, older = api.failures(limit=2)
    assert [newest.run, older.run] == [runs[1].id, runs[0].id]
    assert (newest.kind, newest.task, newest.error, newest.at) == (
        "run",
        "nowhere",
        runs[1].error,
        runs[1].finished,
    )
    assert "not-there" in newest.error
    for run in runs:
        api.delete_run(run.id)
    assert not {run.id for run in runs} & {failure.run for failure in api.failures(limit=200)}


def test_a_worker_tells_its_device_and_memory(api: Client) -> None:
    api.wait(api.submit_run(QUICK).id)
    (worker,) = api.workers()
    assert worker.warm is not None
    assert (worker.warm.device, worker.warm.dtype) == ("cpu", "float32")
    assert worker.warm.memory is not None
    assert worker.warm.memory >= worker.warm.model_budget > 0


@pytest.mark.parametrize("limit", ["0", "201", "many"])
def test_the_number_of_failures_is_bounded(server: Server, limit: str) -> None:
    answer = httpx.get(f"{server.url}/api/v1/failures", params={"limit": limit})
    assert answer.status_code == 422
    assert limit in answer.json()["detail"]


def test_what_workers_do_reaches_the_metrics(server: Server, digits_run: Run) -> None:
    text = httpx.get(f"{server.url}/metrics").text
    counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    assert counts["modelshapley_pass_seconds_count"] >= 8  # 256 digits in batches of 32
    assert counts['modelshapley_runs_ended_total{status="done"}'] >= 1
    assert counts['modelshapley_job_waiting_seconds_count{queue="runs"}'] >= 1
    assert counts['modelshapley_memory_kept_bytes{what="models"}'] > 100_000
