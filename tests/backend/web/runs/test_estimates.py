"""What a run will take, through the real API."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from modelshapley.client import ApiError, Client
from modelshapley.contracts import RunRequest
from modelshapley.models.catalog import ASSETS
from tests.conftest import Server, StartServer

DIGITS = RunRequest(
    model="demo:digits-vit", task="digits", methods=["mean-abs"], units=["head"], limit=1000, faithfulness="none"
)


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    return start_server()


@pytest.fixture(scope="module")
def api(house: Server) -> Iterator[Client]:
    with Client(house.url) as client:
        yield client


def test_before_anything_was_scored_nothing_is_made_up(api: Client) -> None:
    found = api.estimate_run(DIGITS)
    assert (found.examples, found.exact, found.passes, found.forwards) == (288, True, 1, 0)
    assert found.pace is None
    assert found.problems == []
    weights = ASSETS / "digits-vit" / "model.safetensors"
    assert found.memory.weights == pytest.approx(weights.stat().st_size, rel=0.02)
    assert found.memory.activations > 0
    assert found.memory.there is not None
    assert api.runs().total == 0, "an estimate queues nothing"


def seconds(api: Client, **change: object) -> float:
    pace = api.estimate_run(DIGITS.model_copy(update=change)).pace
    assert pace is not None
    return pace.seconds


def took(api: Client, seed: int) -> float:
    run = api.wait(api.submit_run(DIGITS.model_copy(update={"limit": 64, "seed": seed})).id)
    assert run.started is not None
    assert run.finished is not None
    return (run.finished - run.started).total_seconds()


def test_time_is_told_by_finished_runs_and_grows_with_the_work(api: Client) -> None:
    first = took(api, 1)
    same = seconds(api, limit=64)
    assert same == pytest.approx(first, abs=0.02), "a run like the one that was done takes as long as it did"
    step = seconds(api, limit=128) - same
    assert 0 < step < first, "the model is loaded once, however much is scored"
    assert seconds(api, limit=192) - seconds(api, limit=128) == pytest.approx(step, abs=0.03)
    assert seconds(api, limit=64, methods=["path-shapley,points=3"]) == pytest.approx(same + 7 * step, abs=0.12)
    others = [first, took(api, 2), took(api, 3)]
    pace = api.estimate_run(DIGITS.model_copy(update={"limit": 64})).pace
    assert pace is not None
    assert (pace.runs, pace.of) == (3, "model and task")
    assert (*pace.between, pace.seconds) == pytest.approx((min(others), max(others), sorted(others)[1]), abs=0.05)
    other = api.estimate_run(DIGITS.model_copy(update={"task": "cifar100"}))
    assert other.pace is not None
    assert other.pace.of == "model"
    assert (other.examples, other.exact) == (1000, False)
    assert api.estimate_run(DIGITS.model_copy(update={"methods": ["random"]})).pace is None


def test_what_would_be_refused_is_refused(api: Client) -> None:
    for change, words in (
        ({"task": "world-capitals"}, "causal language model"),
        ({"model": "local:none"}, "There is no model"),
        ({"model": "demo:smollm2-135m", "task": "world-capitals", "units": ["neuron"]}, "at most 4,096 units"),
    ):
        with pytest.raises(ApiError, match=words) as error:
            api.estimate_run(DIGITS.model_copy(update={"methods": ["permutation-shapley"], **change}))
        assert error.value.problem.status == 422


def test_a_field_that_cannot_be_used_is_named(house: Server) -> None:
    body = {"model": "demo:digits-vit", "task": "digits", "limit": 0}
    answer = httpx.post(f"{house.url}/api/v1/runs/estimate", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "limit"


def test_no_worker_is_said_before_anything_waits(start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        found = api.estimate_run(DIGITS)
    assert found.workers == 0
    assert found.memory.there is None
    assert found.problems == ["No worker is listening, so it will wait. Start one: modelshapley worker"]
