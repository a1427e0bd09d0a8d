"""What Prometheus reads, what Grafana and the alerts ask for, and what the logs say."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from backend.queue.connections import connect
from backend.queue.metrics import PASS, WAITED, Metrics, histogram_of
from backend.queue.queues import HEARD, LOST_AFTER_S, Queues
from modelshapley.contracts import Warm
from modelshapley.server.logs import JsonLines, log_fields
from tests.support.in_process import redis_running, serving

MONITORING = Path(__file__).parents[3] / "docs" / "monitoring"
RUN = {"model": "demo:digits-vit", "task": "digits", "methods": ["mean-abs"], "units": ["head"], "limit": 8}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("metrics")) as client:
        yield client


def samples(web: TestClient) -> dict[str, float]:
    families = text_string_to_metric_families(web.get("/metrics").text)
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_happens_is_counted(web: TestClient) -> None:
    before = samples(web)
    run = web.post("/api/v1/runs", json=RUN).json()["id"]
    waiting = samples(web)
    assert waiting["modelshapley_queue_jobs runs"] == before["modelshapley_queue_jobs runs"] + 1
    web.delete(f"/api/v1/runs/{run}")
    web.get("/api/v1/runs/nothing")
    after = samples(web)
    assert after["modelshapley_runs_ended_total cancelled"] == before["modelshapley_runs_ended_total cancelled"] + 1
    assert after["modelshapley_http_answers_total 4xx"] == before.get("modelshapley_http_answers_total 4xx", 0) + 1
    assert after["modelshapley_redis_up"] == 1


def test_labels_do_not_grow(web: TestClient) -> None:
    web.get("/api/v1/health")
    few = len(samples(web))
    for number in range(5):
        web.post("/api/v1/runs", json=RUN | {"seed": number})
        web.get(f"/api/v1/runs/unknown-{number}")
    assert len(samples(web)) <= few + 2  # answers of statuses not seen before


def test_a_histogram_has_cumulative_buckets(tmp_path: Path) -> None:
    with redis_running(tmp_path) as url:
        metrics = Metrics(connect(url))
        metrics.observe(PASS, [0.005, 0.01, 0.2, 5000.0])
        metrics.observe(WAITED, [1.0], "runs")
        buckets, total = histogram_of(metrics.read(), PASS)
    assert dict(buckets)["0.01"] == 2
    assert dict(buckets)["0.3"] == dict(buckets)["1000.0"] == 3
    assert buckets[-1] == ("+Inf", 4)
    assert total == pytest.approx(5000.215)


def test_a_lost_worker_is_counted_once_and_again_after_it_was_back(tmp_path: Path) -> None:
    with redis_running(tmp_path) as url:
        queues = Queues(connect(url))

        def lose() -> float:
            queues.publish_warm("one", Warm(models=[], probes=[], model_budget=0, probe_budget=0))
            before: bytes = queues.redis.hget(HEARD, "one")  # type: ignore[assignment]
            queues.redis.hset(HEARD, "one", str(float(before) - LOST_AFTER_S - 1))
            for _ in range(2):
                queues.note_lost_workers()
            return queues.metrics.read()["workers_lost|"]

        assert [lose(), lose()] == [1, 2]


def test_dashboard_and_alerts_ask_for_what_exists(web: TestClient) -> None:
    served = {re.sub("_(bucket|sum|count)$", "", name.partition(" ")[0]) for name in samples(web)}
    for file in (MONITORING / "grafana.json", MONITORING / "alerts.yml"):
        asked = set(re.findall(r"\b(modelshapley_\w+)", file.read_text()))
        assert asked, file
        assert {re.sub("_bucket$", "", name) for name in asked} <= served, file


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is in Debian's package prometheus")
def test_promtool_accepts_rules_and_metrics(web: TestClient) -> None:
    for command, text in (("rules", (MONITORING / "alerts.yml").read_text()), ("metrics", web.get("/metrics").text)):
        argument = [str(MONITORING / "alerts.yml")] if command == "rules" else []
        done = subprocess.run(["promtool", "check", command, *argument], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_request_has_an_id_of_its_proxy_or_a_new_one(web: TestClient) -> None:
    assert web.get("/api/v1/health", headers={"X-Request-ID": "from-a-proxy.1"}).headers["x-request-id"] == (
        "from-a-proxy.1"
    )
    fresh = [web.get("/api/v1/health", headers={"X-Request-ID": 'a"b'}).headers["x-request-id"] for _ in range(2)]
    assert len({*fresh, 'a"b'}) == 3


def test_a_line_of_json_names_request_and_run() -> None:
    record = logging.LogRecord("workers", logging.WARNING, "file", 1, "a\n%s", ('quoted "',), None)
    with log_fields(request="r1", run="abc"):
        line = JsonLines().format(record)
    assert "\n" not in line
    assert {"level": "warning", "message": 'a\nquoted "', "request": "r1", "run": "abc"}.items() <= json.loads(
        line
    ).items()
    assert "run" not in json.loads(JsonLines().format(record))
