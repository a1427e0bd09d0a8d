"""Derived models on a server: made by a job, scored like any other model, cancelled, resumed and deleted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors import safe_open

from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, Run, RunRequest, Status, Trial, TrialRequest
from modelshapley.contracts.applications.derived import DerivedRequest, SizeRequest
from modelshapley.models.catalog import ASSETS
from modelshapley.units import UnitKind
from tests.conftest import DIGITS_RUN, Server, StartServer


@pytest.fixture(scope="module")
def run(api: Client) -> Run:
    return api.wait(api.submit_run(DIGITS_RUN.model_copy(update={"methods": ["two-sided"], "faithfulness": "none"})).id)


@pytest.mark.slow
def test_a_derived_model_is_a_model_like_any_other(api: Client, server: Server, run: Run) -> None:
    off = Off(layer=[1], neuron=[(0, 3), (2, 5), (3, 1)])
    derived = api.wait_derived(api.derive(DerivedRequest(run=run.id, name="small", off=off, method="two-sided")).id)
    assert derived.status is Status.DONE, derived.error
    assert derived.info is not None
    assert derived.off == {UnitKind.LAYER: 1, UnitKind.NEURON: 3}
    file = server.data / "derived" / "small" / "model.safetensors"
    assert derived.info.bytes == file.stat().st_size
    with safe_open(file, "pt") as tensors:
        numbers = {name.split(".")[3] for name in tensors.keys() if ".layer." in name}  # noqa: SIM118  # not a dict
    assert numbers == {"0", "1", "2"}
    assert derived.info.map is not None
    assert derived.info.map["model"] == run.model
    trial = _trial(api, run, off)
    assert trial.accuracy == pytest.approx(derived.info.trial.accuracy)
    assert "derived:small" in {model.id for model in api.models()}
    own = api.wait(api.submit_run(RunRequest(model="derived:small", task="digits", faithfulness="none")).id)
    assert own.status is Status.DONE, own.error
    assert own.intact is not None
    assert own.intact.accuracy == pytest.approx(derived.info.trial.accuracy)
    assert own.shapes[UnitKind.LAYER] == [3]
    with pytest.raises(ApiError, match="is used by run"):
        api.drop_derived(derived.id)
    assert api.all_derived(run.id)[0].id == derived.id
    with pytest.raises(ApiError, match="There is a derived model 'small' already"):
        api.derive(DerivedRequest(run=run.id, name="small", off=off))


def _trial(api: Client, run: Run, off: Off) -> Trial:
    trial = api.submit_trial(TrialRequest(run=run.id, off=off))
    while not trial.status.ended:
        time.sleep(0.1)
        trial = api.trial(trial.id)
    return trial


@pytest.mark.slow
def test_a_share_is_recommended_then_removed_and_deleted(api: Client, server: Server, run: Run) -> None:
    derived = api.wait_derived(api.derive(DerivedRequest(run=run.id, name="less", share=0.2)).id)
    assert derived.status is Status.DONE, derived.error
    assert derived.recommendation is not None
    assert derived.info is not None
    best = derived.recommendation.candidates[derived.recommendation.best]
    assert (derived.off, derived.info.bytes) == (best.off, best.bytes)
    assert derived.info.parameters <= 0.8 * derived.info.parent_parameters
    assert derived.progress.done == derived.progress.total == len(derived.recommendation.candidates)
    assert json.loads((server.data / "derived" / "less" / "modelshapley.json").read_text())["parent"] == run.model
    api.drop_derived(derived.id)
    assert not (server.data / "derived" / "less").exists()
    with pytest.raises(ApiError, match="no derived model"):
        api.derived(derived.id)


def test_a_time_that_nothing_meets_is_said_with_what_was_measured(api: Client, run: Run) -> None:
    derived = api.wait_derived(api.derive(DerivedRequest(run=run.id, name="instant", milliseconds=1e-3)).id)
    assert (derived.status, derived.milliseconds) == (Status.FAILED, 1e-3)
    assert re.search(
        r"No smaller .* takes at most 0\.001 ms a pass here: the whole takes [\d.]+ ms", derived.error or ""
    )
    with pytest.raises(ValidationError, match="give either 'share'"):
        DerivedRequest(run=run.id, name="both", share=0.2, milliseconds=5)


@pytest.mark.slow  # builds and times smaller models
def test_a_time_is_met_by_the_worker_that_measured_it(api: Client, run: Run) -> None:
    for attempt in range(3):  # a busy machine may have become twice as fast or as slow meanwhile
        instant = api.wait_derived(
            api.derive(DerivedRequest(run=run.id, name=f"no-time-{attempt}", milliseconds=1e-3)).id
        )
        whole = re.search(r"the whole takes ([\d.]+) ms", instant.error or "")
        assert whole is not None
        wanted = 0.6 * float(whole[1])
        derived = api.wait_derived(
            api.derive(DerivedRequest(run=run.id, name=f"quicker-{attempt}", milliseconds=wanted)).id
        )
        if derived.status is Status.DONE:
            break
    assert derived.status is Status.DONE, derived.error
    assert derived.recommendation is not None
    assert derived.info is not None
    best = derived.recommendation.candidates[derived.recommendation.best]
    assert best.milliseconds is not None
    assert best.milliseconds <= wanted
    assert (derived.off, derived.info.bytes) == (best.off, best.bytes)


def test_means_are_folded_on_request(api: Client, run: Run) -> None:
    off = Off(neuron=[(layer, unit) for layer in range(4) for unit in (1, 2)])
    derived = api.wait_derived(api.derive(DerivedRequest(run=run.id, name="folded", off=off, repair="means")).id)
    assert derived.status is Status.DONE, derived.error
    assert derived.repair == "means"
    assert derived.info is not None
    assert derived.info.repair is not None
    assert derived.info.repair.how == "means"


def test_a_size_is_predicted_to_the_byte(api: Client, run: Run) -> None:
    size = api.predict_size(SizeRequest(run=run.id, method="two-sided", unit=UnitKind.NEURON, share=0.1))
    assert size.status is Status.DONE, size.error
    derived = api.wait_derived(api.derive(DerivedRequest(run=run.id, name="tenth", off=size.off)).id)
    assert derived.info is not None
    assert (derived.info.bytes, derived.info.parameters) == (size.bytes, size.parameters)
    assert size.parameters <= 0.9 * derived.info.parent_parameters
    impossible = api.predict_size(SizeRequest(run=run.id, method="two-sided", unit=UnitKind.NEURON, share=0.9))
    assert impossible.status is Status.FAILED
    assert "cannot be removed as neurons alone" in str(impossible.error)


def test_bad_requests_are_refused_with_a_way_out(api: Client, run: Run) -> None:
    for request, sentence in (
        ({"run": run.id, "name": "x"}, "give either"),
        ({"run": run.id, "name": "x", "share": 0.2, "off": {"layer": [0]}}, "give either"),
        ({"run": run.id, "name": "x", "off": {}}, "names no unit"),
        ({"run": run.id, "name": "../x", "share": 0.2}, "name"),
        ({"run": run.id, "name": "x", "share": 1.0}, "share"),
        ({"run": run.id, "name": "x", "off": {"layer": [99]}}, "layers go from 0 to 3"),
        ({"run": run.id, "name": "x", "share": 0.2, "method": "mean-abs"}, "method in this run"),
        ({"run": "nonsense", "name": "x", "share": 0.2}, "There is no run"),
    ):
        response = api._http.post("/api/v1/derived", json=request)
        assert response.status_code in (404, 422), response.text
        assert sentence in response.text


def test_what_cannot_be_cut_out_is_zeroed_and_said(api: Client, run: Run) -> None:
    """A model of which all layers are off still loads, and is verified, although its units do nothing."""
    zeroed = api.wait_derived(api.derive(DerivedRequest(run=run.id, name="none", off=Off(layer=[0, 1, 2, 3]))).id)
    assert zeroed.status is Status.DONE, zeroed.error
    assert zeroed.info is not None
    assert zeroed.info.reasons == [
        "layers are zeroed in place: a model needs at least one layer in each of its stacks."
    ]


@pytest.mark.slow  # scores and saves two models
def test_a_model_whose_parent_is_gone_stays_and_what_needs_the_parent_says_so(
    api: Client, server: Server, tmp_path: Path
) -> None:
    request = DIGITS_RUN.model_copy(update={"methods": ["two-sided"], "faithfulness": "none"})
    runs = []
    for name in ("left", "lost"):
        folder = tmp_path / name
        shutil.copytree(ASSETS / "digits-vit", folder)
        model = api.upload_model(folder)
        runs.append(api.wait(api.submit_run(request.model_copy(update={"model": model.id})).id))
    left, lost = runs
    made = api.wait_derived(api.derive(DerivedRequest(run=left.id, name="orphan", off=Off(layer=[1]))).id)
    assert made.status is Status.DONE, made.error
    api.delete_run(left.id)
    api.delete_model(left.model)
    own = api.wait(api.submit_run(request.model_copy(update={"model": "derived:orphan"})).id)
    assert own.status is Status.DONE, own.error  # it has its own weights
    with pytest.raises(ApiError, match=f"Run {left.id} was deleted; restore it first"):
        api.derive(DerivedRequest(run=left.id, name="second", off=Off(layer=[2])))
    shutil.rmtree(server.data / "models" / "lost")
    failed = api.wait_derived(api.derive(DerivedRequest(run=lost.id, name="third", share=0.2)).id)
    assert failed.status is Status.FAILED
    assert "There is no model 'local:lost'. Known here:" in (failed.error or "")
    assert not (server.data / "derived" / "third").exists()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_worker_does_not_lose_a_derived_model_and_a_cancelled_one_stops(start_server: StartServer) -> None:
    server = start_server()
    with Client(server.url) as api:
        run = api.wait(api.submit_run(DIGITS_RUN.model_copy(update={"faithfulness": "none"})).id)
        derived = api.derive(DerivedRequest(run=run.id, name="survivor", share=0.2))
        until = time.monotonic() + 60
        while api.derived(derived.id).recommendation is None and time.monotonic() < until:
            time.sleep(0.02)
        chosen = api.derived(derived.id)
        (pid,) = [worker.pid for worker in api.workers() if worker.pid is not None]
        os.kill(pid, signal.SIGKILL)
        done = api.wait_derived(derived.id)
        assert done.status is Status.DONE, done.error
        assert done.recommendation == chosen.recommendation
        assert done.info is not None
        leftovers = [path for path in (server.data / "derived").iterdir() if path.name != "survivor"]
        assert leftovers == []
        stopped = api.derive(DerivedRequest(run=run.id, name="stopped", share=0.2))
        while api.derived(stopped.id).status is Status.QUEUED:
            time.sleep(0.02)
        assert api.drop_derived(stopped.id).status is Status.CANCELLED
        # The worker is free again, and leaves nothing behind.
        after = api.wait_derived(api.derive(DerivedRequest(run=run.id, name="after", off=Off(layer=[2]))).id)
        assert after.status is Status.DONE, after.error
        assert sorted(path.name for path in Path(server.data / "derived").iterdir()) == ["after", "survivor"]
