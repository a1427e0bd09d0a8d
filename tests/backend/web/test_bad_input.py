"""Bad input gets a clear error of one shape, and nothing is lost."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from modelshapley.client import ApiError, ApiUnreachable, Client
from modelshapley.contracts import Off, Problem, Run, RunRequest, Status, TrialRequest
from modelshapley.models.catalog import ASSETS
from modelshapley.units import Treatment
from tests.conftest import Server

GOOD = {"model": "demo:digits-vit", "task": "digits", "methods": ["mean-abs"], "units": ["head"], "limit": 8}


def post(server: Server, path: str, body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/api/v1{path}", json=body)


def problem_of(answer: httpx.Response, status: int) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == status
    return problem


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "demo:digit-vit"}, ["'demo:digit-vit'", "demo:digits-vit"]),
        ({"model": "../../etc"}, ["'../../etc'"]),
        ({"model": "local:../.."}, ["'local:../..'"]),
        ({"task": "digit"}, ["'digit'", "world-capitals"]),
        ({"methods": ["shapely"]}, ["'shapely'", "model-shapley"]),
        ({"methods": []}, ["methods"]),
        ({"methods": ["path-shapley,points=0"]}, ["points", "'0'", "from 1 to 64"]),
        ({"methods": ["mean-abs,points=2"]}, ["'mean-abs'", "'points'"]),
        ({"methods": ["two-sided", "two-sided,harm=0.5"]}, ["more than once", "two-sided"]),
        ({"methods": ["mean-abs", "mean-abs"]}, ["more than once"]),
        ({"units": ["nueron"]}, ["units", "'nueron'", "'neuron'"]),
        ({"units": ["expert"]}, ["'expert'", "neuron, head, layer, row"]),
        ({"limit": 0}, ["limit", "greater than or equal to 1", "0"]),
        ({"limit": "many"}, ["limit", "'many'"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"limits": 3}, ["limits"]),
        ({"model": "demo:smollm2-135m"}, ["'digits'", "classifies images", "causal language model"]),
        ({"task": "world-capitals"}, ["'world-capitals'", "causal language model", "classifies images"]),
    ],
)
def test_a_run_that_cannot_be_done_says_why(
    server: Server, api: Client, change: dict[str, Any], named: list[str]
) -> None:
    before = api.runs(limit=1).total
    problem = problem_of(post(server, "/runs", GOOD | change), 422)
    text = problem.detail + " ".join(f"{e.field} {e.message}" for e in problem.errors)
    for word in named:
        assert word in text, text
    assert api.runs(limit=1).total == before


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'"text"', b""])
def test_a_body_that_is_no_json_object(server: Server, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/api/v1/runs", content=body, headers={"content-type": "application/json"})
    problem_of(answer, 422)


@pytest.mark.parametrize("path", ["/runs", "/trials"])
@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_of_json_are_refused(server: Server, path: str, chunked: bool) -> None:
    body = json.dumps(GOOD | {"model": "x" * 10_000_000}).encode()
    chunks = (body[i : i + 65536] for i in range(0, len(body), 65536))
    answer = httpx.post(
        f"{server.url}/api/v1{path}",
        content=chunks if chunked else body,
        headers={"content-type": "application/json"},
    )
    assert "8,388,608" in problem_of(answer, 413).detail


def test_unknown_things_are_404(server: Server, digits_run: Run) -> None:
    for path in (
        "/runs/nope",
        "/trials/nope",
        "/runs/nope/events",
        f"/runs/{digits_run.id}/maps/mean-abs/head",
        f"/runs/{digits_run.id}/maps/nope/head",
        f"/runs/{digits_run.id}/maps/two-sided/expert",
        "/runs/%0A/maps/two-sided/head",
        "/nope",
    ):
        problem_of(httpx.get(f"{server.url}/api/v1{path}"), 404)
    problem_of(httpx.get(f"{server.url}/api/v1/runs/{digits_run.id}/maps/two-sided/circuit"), 422)
    problem_of(httpx.put(f"{server.url}/api/v1/runs"), 405)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"off": {"head": [[0, 4]]}}, ["head [0, 4]", "0 to 3", "4"]),
        ({"off": {"neuron": [[4, 0]]}}, ["layers go from 0 to 3"]),
        ({"off": {"layer": [-1]}}, ["off.layer.0", "-1"]),
        ({"off": {"head": [[0]]}}, ["off.head.0"]),
        ({"off": {"heads": [[0, 0]]}}, ["off.heads"]),
        ({"off": {"head": [[0, 0]]}, "treatment": {"how": "resample"}}, ["'digits'", "kind 'counterfactual'"]),
        ({}, ["'off'", "missing"]),
        ({"off": {}, "method": "two-sided"}, ["not both"]),
        ({"method": "two-sided", "unit": "head", "which": "least"}, ["fraction"]),
        ({"method": "two-sided", "unit": "head", "which": "least", "fraction": 1.5}, ["fraction", "1.5"]),
        ({"method": "two-sided", "unit": "head", "which": "worst", "fraction": 0.5}, ["which", "'worst'"]),
    ],
)
def test_a_trial_that_cannot_be_done_says_why(
    server: Server, digits_run: Run, body: dict[str, Any], named: list[str]
) -> None:
    problem = problem_of(post(server, "/trials", {"run": digits_run.id} | body), 422)
    text = problem.detail + " ".join(f"{e.field} {e.message}" for e in problem.errors)
    for word in named:
        assert word in text, text


def test_the_client_is_told_of_a_task_without_pairs_and_no_trial_is_left(api: Client, digits_run: Run) -> None:
    before = len(api.run_trials(digits_run.id))
    patched = TrialRequest(run=digits_run.id, off=Off(head=[(0, 0)]), treatment=Treatment("resample"))
    with pytest.raises(ApiError, match="or another treatment") as refused:
        api.measure(patched)
    assert refused.value.problem.status == 422
    assert len(api.run_trials(digits_run.id)) == before


def test_ranking_by_a_method_that_was_not_run_is_404(server: Server, digits_run: Run) -> None:
    body = {"run": digits_run.id, "method": "gradient", "unit": "head", "which": "least", "fraction": 0.5}
    assert "two-sided" in problem_of(post(server, "/trials", body), 404).detail


def test_a_cancelled_run_keeps_its_status_and_takes_no_trials(server: Server, api: Client, digits_run: Run) -> None:
    # The worker is kept busy so that the run cancelled here is still waiting.
    methods = ["mean-abs", "path-shapley,points=32"]
    busy = api.submit_run(RunRequest(model="demo:digits-vit", task="digits", methods=methods, limit=1437, seed=9))
    run = api.submit_run(RunRequest(model="demo:digits-vit", task="digits", methods=["mean-abs"], seed=9))
    assert api.cancel_run(run.id).status is Status.CANCELLED
    assert api.cancel_run(run.id).status is Status.CANCELLED
    problem = problem_of(post(server, "/trials", {"run": run.id, "off": {"head": [[0, 0]]}}), 409)
    assert "cancelled" in problem.detail
    with pytest.raises(ApiError, match="409"):
        api.importance_map(run.id, "mean-abs", "head")
    # Cancelling stops a run that is being scored, too.
    for event in api.run_events(busy.id):
        if event.data.progress.done:
            break
    api.cancel_run(busy.id)
    assert [event.data.status for event in api.run_events(busy.id)] == [Status.CANCELLED]
    # The worker goes on with other work, and the cancelled run stays as it is.
    assert (
        api.wait(api.submit_run(RunRequest(model="demo:digits-vit", task="digits", limit=8)).id).status is Status.DONE
    )
    assert api.run(busy.id).status is Status.CANCELLED
    assert api.run(run.id).progress.done == 0
    with pytest.raises(ApiError, match="done; only a queued or running one"):
        api.cancel_run(digits_run.id)


def model_folder(server: Server, name: str) -> Path:
    folder = server.data / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ASSETS / "digits-vit" / "config.json", folder)
    return folder


def test_pickled_weights_are_refused_and_never_opened(server: Server, api: Client, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    folder = model_folder(server, "pickled")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    problem = problem_of(post(server, "/runs", GOOD | {"model": "local:pickled"}), 422)
    assert "pytorch_model.bin" in problem.detail
    assert "safe_serialization" in problem.detail
    (listed,) = [m for m in api.models() if m.id == "local:pickled"]
    assert not listed.usable
    assert "pytorch_model.bin" in (listed.problem or "")
    assert not (tmp_path / "ran").exists()


def test_a_model_that_brings_code_or_an_unknown_type_is_refused(server: Server) -> None:
    folder = model_folder(server, "code")
    shutil.copy(ASSETS / "digits-vit" / "model.safetensors", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    assert "auto_map" in problem_of(post(server, "/runs", GOOD | {"model": "local:code"}), 422).detail
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "perceiver"}))
    save_file({"perceiver.latents": np.zeros((4, 4), np.float32)}, folder / "model.safetensors")
    detail = problem_of(post(server, "/runs", GOOD | {"model": "local:code"}), 422).detail
    assert "'perceiver' are outside the table" in detail
    assert "no numbered list of blocks" in detail
    (folder / "config.json").write_text("{broken")
    assert "JSON" in problem_of(post(server, "/runs", GOOD | {"model": "local:code"}), 422).detail


def test_a_local_copy_of_a_model_is_scored_like_the_original(server: Server, api: Client, digits_run: Run) -> None:
    folder = model_folder(server, "copy")
    shutil.copy(ASSETS / "digits-vit" / "model.safetensors", folder)
    request = RunRequest(model="local:copy", task="digits", methods=["two-sided"])
    run = api.wait(api.submit_run(request).id)
    assert run.status is Status.DONE, run.error
    ours = api.importance_map(run.id, "two-sided", "head").scores
    assert ours == api.importance_map(digits_run.id, "two-sided", "head").scores


def test_what_only_the_worker_can_see_fails_with_the_reason(server: Server, api: Client) -> None:
    folder = model_folder(server, "torn")
    shutil.copy(ASSETS / "digits-vit" / "model.safetensors", folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ApiError, match=r"of 'local:torn' is not a complete safetensors file"):
        api.submit_run(RunRequest(model="local:torn", task="digits"))
    (folder / "model.safetensors").write_bytes(whole[:-1000])
    with pytest.raises(ApiError, match=r"of 'local:torn' is not a complete safetensors file"):
        api.submit_run(RunRequest(model="local:torn", task="digits"))
    other = model_folder(server, "small")
    shutil.copy(ASSETS / "digits-vit" / "model.safetensors", other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    with pytest.raises(ApiError, match="5 layers, but the tensors have room for 4"):
        api.submit_run(RunRequest(model="local:small", task="digits"))
    (other / "config.json").write_text(json.dumps(config))
    (other / "model.safetensors").write_bytes(whole.replace(b"classifier.weight", b"classifier.wrongg"))
    run = api.wait(api.submit_run(RunRequest(model="local:small", task="digits")).id)
    assert run.status is Status.FAILED
    assert "lack" in (run.error or "")
    assert "Traceback" not in (run.error or "")


def test_a_link_out_of_the_model_root_is_not_followed(server: Server, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(ASSETS / "digits-vit", outside)
    (server.data / "models").mkdir(exist_ok=True)
    (server.data / "models" / "link").symlink_to(outside)
    problem_of(post(server, "/runs", GOOD | {"model": "local:link"}), 422)


def test_pages_from_elsewhere_get_nothing_without_a_key(server: Server) -> None:
    problem_of(httpx.get(f"{server.url}/api/v1/runs", headers={"Host": "evil.example"}), 421)


def test_sockets_from_elsewhere_get_nothing_without_a_key(server: Server) -> None:
    """The dashboard's toggles come over a websocket; a page that points a name of its own here gets none."""
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    for name in ("evil.example", server.url.removeprefix("http://")):
        headers = asked | key | {"Host": name, "Origin": f"http://{name}"}
        with httpx.stream("GET", f"{server.url}/_dash-ws-callback", headers=headers) as answer:
            assert answer.status_code == (403 if name == "evil.example" else 101)


def test_the_client_says_when_nobody_answers() -> None:
    with Client("http://127.0.0.1:9", timeout=2) as nobody, pytest.raises(ApiUnreachable, match="modelshapley up"):
        nobody.health()


def test_an_empty_selection_measures_the_intact_model(api: Client, digits_run: Run) -> None:
    trial = api.measure(TrialRequest(run=digits_run.id, off=Off()))
    assert trial.difference == 0
    assert trial.accuracy == digits_run.intact.accuracy


def test_a_model_that_changed_after_its_run_is_not_measured(server: Server, api: Client) -> None:
    folder = model_folder(server, "changing")
    shutil.copy(ASSETS / "digits-vit" / "model.safetensors", folder)
    run = api.wait(api.submit_run(RunRequest(model="local:changing", task="digits", limit=8)).id)
    assert run.status is Status.DONE
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    trial = api.measure(TrialRequest(run=run.id, off=Off(head=[(0, 0)])))
    assert trial.status is Status.FAILED
    assert "changed since run" in (trial.error or "")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_form_of_another_page_cannot_submit(server: Server, api: Client, kind: str) -> None:
    """Browsers send such bodies across sites without asking first."""
    before = api.runs(limit=1).total
    answer = httpx.post(f"{server.url}/api/v1/runs", content=json.dumps(GOOD), headers={"content-type": kind})
    problem_of(answer, 415)
    assert api.runs(limit=1).total == before
