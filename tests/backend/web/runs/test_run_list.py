"""Search, delete, undo and removal for good through the real API."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, RunRequest, Status, TrialRequest
from tests.conftest import Server, StartServer

QUICK = RunRequest(model="demo:digits-vit", task="digits", methods=["mean-abs"], limit=8, faithfulness="none")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"search": "x" * 201}, "at most 200"),
        ({"search": "a\0b"}, "search"),
        ({"status": "finished"}, "'finished'"),
        ({"limit": 0}, "limit"),
        ({"offset": -1}, "offset"),
        ({"deleted": "perhaps"}, "'perhaps'"),
    ],
)
def test_a_search_that_cannot_be_done_says_why(server: Server, query: dict[str, Any], named: str) -> None:
    answer = httpx.get(f"{server.url}/api/v1/runs", params=query)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


def test_search_by_method_and_status(api: Client) -> None:
    run = api.wait(api.submit_run(QUICK.model_copy(update={"methods": ["gradient-trace"]})).id)
    (found,) = api.runs(search="gradient-trace DIGITS-VIT", status=Status.DONE).items
    assert found.id == run.id
    assert api.runs(search="gradient-trace", status=Status.FAILED).total == 0
    assert api.runs(search="gradient_trace").total == 0


def test_delete_and_undo_bring_back_map_trials_and_report(api: Client) -> None:
    run = api.wait(api.submit_run(QUICK.model_copy(update={"faithfulness": "quick"})).id)
    trial = api.measure(TrialRequest(run=run.id, off=Off(head=[(0, 0)])))
    report, scores = api.checked(run.id), api.importance_map(run.id, "mean-abs", "head")
    before = api.run(run.id)
    assert api.delete_run(run.id).deleted is not None
    assert run.id not in [found.id for found in api.runs(limit=200).items]
    assert run.id in [found.id for found in api.runs(limit=200, deleted=True).items]
    with pytest.raises(ApiError, match="was deleted; restore it first"):
        api.submit_trial(TrialRequest(run=run.id, off=Off(head=[(0, 1)])))
    assert api.bring_back_run(run.id) == before
    assert api.run_trials(run.id) == [trial]
    assert api.faithfulness(run.id) == report
    assert api.importance_map(run.id, "mean-abs", "head") == scores
    assert api.measure(TrialRequest(run=run.id, off=Off(head=[(0, 1)]))).n > 0


def test_an_open_run_is_cancelled_before_it_is_deleted(start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        run = api.submit_run(QUICK)
        with pytest.raises(ApiError, match="is queued; cancel it before") as refused:
            api.delete_run(run.id)
        assert refused.value.problem.status == 409
        api.cancel_run(run.id)
        api.delete_run(run.id)
        assert api.runs().total == 0
        again = api.submit_run(api.run(run.id).request())
        assert (again.id != run.id, again.request()) == (True, run.request())


def test_a_deleted_run_is_gone_for_good_after_its_time(start_server: StartServer) -> None:
    server = start_server(MODELSHAPLEY_DELETED_KEPT_HOURS=str(3 / 3600))
    with Client(server.url) as api:
        assert api.limits().deleted_kept_hours == pytest.approx(3 / 3600)
        kept, gone = (api.wait(api.submit_run(replace_seed(seed)).id) for seed in (1, 2))
        files = server.data / "runs" / gone.id
        assert files.is_dir()
        api.delete_run(gone.id)
        deadline = time.monotonic() + 20
        while files.exists() or api.runs(deleted=True).total:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        with pytest.raises(ApiError, match="There is no run"):
            api.bring_back_run(gone.id)
        assert api.importance_map(kept.id, "mean-abs", "head").scores


def replace_seed(seed: int) -> RunRequest:
    return QUICK.model_copy(update={"seed": seed})
