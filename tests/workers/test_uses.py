"""Fine-tuning, quantising, probing and amplifying as queued jobs: results, cancelling, and going on after a kill."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import transformers

from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, Run, RunRequest, Status, TrialRequest
from modelshapley.contracts.applications.derived import Derived
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.contracts.applications.requests import (
    AmplifyRequest,
    FinetuneRequest,
    ProbeRequest,
    QuantiseRequest,
    UseRequest,
)
from modelshapley.extras import is_installed
from modelshapley.units import UnitKind
from tests.conftest import DIGITS_RUN, Server
from tests.support import task_data

TENTH = {UnitKind.NEURON: 0.1}
SHORT = FinetuneSettings(steps=32, batch=8)
COLOURS = ["red", "blue", "green"]


@pytest.fixture(scope="module")
def run(api: Client) -> Run:
    return api.wait(api.submit_run(DIGITS_RUN.model_copy(update={"methods": ["two-sided"], "faithfulness": "none"})).id)


def until(api: Client, derived: Derived, done: int) -> Derived:
    """Wait until a job has counted so far."""
    deadline = time.monotonic() + 60
    while (state := api.derived(derived.id)).progress.done < done and not state.status.ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return state


def test_a_probe_and_an_amplification_are_kept(api: Client, run: Run) -> None:
    probe = api.derive(ProbeRequest(run=run.id, most=TENTH, draws=3))
    amplify = api.derive(AmplifyRequest(run=run.id, most=TENTH, factors=[1.0, 1.3], draws=2, name="louder"))
    probe, amplify = api.wait_derived(probe.id), api.wait_derived(amplify.id)
    assert (probe.status, amplify.status) == (Status.DONE, Status.DONE), (probe.error, amplify.error)
    assert probe.probed is not None
    assert (probe.model, probe.off, probe.probed.units) == (None, {UnitKind.NEURON: 16}, {UnitKind.NEURON: 16})
    assert probe.probed.everything.accuracy > probe.probed.majority.accuracy
    assert len(probe.probed.random) == 3
    assert amplify.amplified is not None
    same, louder = amplify.amplified.points
    assert same.chosen.difference == 0, "a factor of 1 changes nothing"
    assert louder.chosen.n == 360
    assert (amplify.name, amplify.progress.done, amplify.progress.total) == ("louder", 7, 7)
    assert api.drop_derived(probe.id).id == probe.id
    with pytest.raises(ApiError, match="no derived model"):
        api.derived(probe.id)


@pytest.mark.slow  # a killed worker's job is taken up by another one after 20 seconds
def test_a_killed_worker_goes_on_bit_for_bit(api: Client, server: Server, run: Run) -> None:
    """Trials meanwhile see the model as it was; afterwards the tuned one is a model like any other."""
    request = FinetuneRequest(run=run.id, name="tuned", most=TENTH, settings=SHORT, controls=["random"])
    whole = api.wait_derived(api.derive(request.model_copy(update={"name": "whole"})).id)
    assert whole.finetuned is not None, whole.error
    before = api.measure(TrialRequest(run=run.id, off=Off(head=[(0, 1)])))
    tuned = api.derive(request)
    until(api, tuned, 20)
    meanwhile = api.measure(TrialRequest(run=run.id, off=Off(head=[(0, 1)]), session="meanwhile"))
    assert api.derived(tuned.id).status is Status.RUNNING
    assert meanwhile.accuracy == before.accuracy
    (pid,) = [worker.pid for worker in api.workers() if worker.pid is not None]
    os.kill(pid, signal.SIGKILL)
    done = api.wait_derived(tuned.id)
    assert done.finetuned is not None, done.error
    assert done.finetuned.arms == whole.finetuned.arms
    assert done.finetuned.map is not None
    assert sorted(path.name for path in (server.data / "derived").iterdir() if "w" in path.name) == ["whole"]
    assert not any((server.data / "derived" / ".checkpoints").iterdir())
    own = api.wait(api.submit_run(RunRequest(model="derived:tuned", task="digits", faithfulness="none", limit=16)).id)
    assert own.intact is not None, own.error
    assert own.intact.accuracy == pytest.approx(done.finetuned.arms[0].against_parent.accuracy)


def test_a_cancelled_training_stops_and_leaves_nothing(api: Client, server: Server, run: Run) -> None:
    long = FinetuneRequest(run=run.id, name="endless", most=TENTH, settings=FinetuneSettings(steps=100_000))
    derived = until(api, api.derive(long), 2)
    assert derived.step == "Training: targeted"
    while (eta := api.derived(derived.id).progress.eta_s) is None:
        time.sleep(0.05)
    assert eta > 60
    assert api.drop_derived(derived.id).status is Status.CANCELLED
    after = api.wait_derived(api.derive(ProbeRequest(run=run.id, most=TENTH, draws=1)).id)
    assert after.status is Status.DONE, after.error
    folder = server.data / "derived"
    assert not [path for path in folder.iterdir() if "endless" in path.name]
    assert not any((folder / ".checkpoints").iterdir())


@pytest.mark.slow
def test_a_model_that_cannot_be_scored_is_listed_with_the_reason(api: Client, server: Server) -> None:
    """Another process quantises it, which takes 20 seconds to import what it needs."""
    pytest.importorskip("llmcompressor")
    run = _run_of_a_tiny_llama(api, server.data)
    short = FinetuneSettings(steps=2)
    request = FinetuneRequest(run=run.id, name="lora", most=TENTH, settings=short, controls=[], adapter=True)
    adapter = api.wait_derived(api.derive(request).id)
    assert adapter.finetuned is not None, adapter.error
    (listed,) = [model for model in api.models() if model.id == "derived:lora"]
    assert not listed.usable
    assert "is a LoRA adapter, which peft adds to its parent" in str(listed.problem)
    derived = api.wait_derived(api.derive(QuantiseRequest(run=run.id, name="w4", scheme="rtn-w4")).id)
    assert derived.quantised is not None, derived.error
    assert derived.quantised.job == derived.id
    assert derived.quantised.bytes < derived.quantised.parent_bytes
    assert derived.quantised.reload_max_logit_difference == 0
    (listed,) = [model for model in api.models() if model.id == "derived:w4"]
    assert not listed.usable
    assert "quantised (compressed-tensors), and units are scored on plain weights only" in str(listed.problem)
    missing = api.wait_derived(api.derive(QuantiseRequest(run=run.id, name="w0", scheme="int1")).id)
    assert missing.status is Status.FAILED
    assert "int1" in str(missing.error)
    api.drop_derived(derived.id)
    assert not (server.data / "derived" / "w4").exists()


def _run_of_a_tiny_llama(api: Client, data: Path) -> Run:
    """A random Llama with a tokenizer of a few words, scored on the world's capitals."""
    folder, words = data / "models" / "tiny-llama", task_data.tokenizer()
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    task_data.model(config, words).model.save_pretrained(folder)
    words.save_pretrained(folder)
    request = RunRequest(model="local:tiny-llama", task="world-capitals", faithfulness="none", limit=16)
    run = api.wait(api.submit_run(request).id)
    assert run.status is Status.DONE, run.error
    return run


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"use": "shrink"}, "'use' should be prune, finetune, quantise, probe or amplify"),
        ({"use": "finetune", "name": "x"}, "give either 'most'"),
        ({"use": "finetune", "name": "x", "most": {"neuron": 0.1}, "units": {"layer": [0]}}, "give either 'most'"),
        ({"use": "finetune", "most": {"neuron": 0.1}}, "name: Field required"),
        ({"use": "finetune", "name": "../x", "most": {"neuron": 0.1}}, "name: String should match"),
        ({"use": "finetune", "name": "x", "most": {"neuron": 1.5}}, "most.neuron"),
        ({"use": "finetune", "name": "x", "most": {"expert": 0.1}}, "unit kind in this run"),
        ({"use": "finetune", "name": "x", "most": {"neuron": 0.1}, "settings": {"steps": 0}}, "settings.steps"),
        ({"use": "finetune", "name": "x", "most": {"neuron": 0.1}, "controls": ["none"]}, "controls.0"),
        ({"use": "quantise", "name": "x"}, "scheme: Field required"),
        ({"use": "quantise", "name": "x", "scheme": "rtn-w4", "beta": 2}, "beta"),
        ({"use": "probe", "units": {"head": [[9, 9]]}}, "layers go from 0 to 3"),
        ({"use": "probe", "units": {}}, "'units' names no unit"),
        ({"use": "amplify", "most": {"head": 0.1}, "factors": [3]}, "factors.0"),
        ({"use": "amplify", "most": {"head": 0.1}, "method": "mean-abs"}, "method in this run"),
    ],
)
def test_bad_requests_are_refused_with_a_way_out(
    api: Client, run: Run, request_: dict[str, object], sentence: str
) -> None:
    response = api._http.post("/api/v1/derived", json={"run": run.id} | request_)
    assert response.status_code == 422, response.text
    assert sentence in response.json()["detail"]


# Workers of `make test` lack the extra `compress`, those of `make test-all` have it.
UNQUANTISED = "only language models that write text are" if is_installed("llmcompressor") else "modelshapley[compress]"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (FinetuneRequest(run="-", name="both", most=TENTH | {UnitKind.LAYER: 1.0}), "which cannot train together"),
        (QuantiseRequest(run="-", name="vit4", scheme="rtn-w4"), UNQUANTISED),
    ],
)
def test_what_a_model_cannot_do_fails_with_a_sentence(
    api: Client, run: Run, request_: UseRequest, sentence: str
) -> None:
    failed = api.wait_derived(api.derive(request_.model_copy(update={"run": run.id})).id)
    assert failed.status is Status.FAILED
    assert sentence in str(failed.error)
