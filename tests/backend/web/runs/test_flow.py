"""The main job through the real API, queue and worker, on the real demo models."""

from __future__ import annotations

import copy
import csv
import io
import itertools
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import torch

from modelshapley import load_task
from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, Run, RunRequest, Status, TrialRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.catalog import Catalog
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.tasks import TASKS
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.conftest import CAPITALS_RUN, DIGITS_RUN, Server
from tests.support.short_model import put_short_model


def test_a_run_goes_from_queued_to_done_with_maps_for_every_method_and_unit(api: Client, digits_run: Run) -> None:
    assert digits_run.status is Status.DONE, digits_run.error
    assert digits_run.progress.done == digits_run.progress.total == 256
    assert {(link.method, link.unit) for link in digits_run.maps} == {
        (method, unit) for method in DIGITS_RUN.methods for unit in ("neuron", "head", "layer")
    }
    assert digits_run.intact is not None
    assert digits_run.intact.accuracy > 0.97
    assert digits_run.intact.n == 360


def test_submitting_answers_202_with_a_location(server: Server, api: Client) -> None:
    body = {"model": "demo:digits-vit", "task": "digits", "methods": ["mean-abs"], "limit": 8}
    answer = httpx.post(f"{server.url}/api/v1/runs", json=body)
    assert answer.status_code == 202
    run_id = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/runs/{run_id}"
    assert answer.json()["status"] == "queued"
    assert api.wait(run_id).progress.total == 8
    assert run_id in [run.id for run in api.runs(limit=3).items]


def test_events_count_up_and_end_with_the_status(api: Client) -> None:
    run = api.submit_run(DIGITS_RUN.model_copy(update={"seed": 5}))
    events = list(api.run_events(run.id))
    assert [e.event for e in events][-1] == "status"
    assert events[-1].data.status is Status.DONE
    done = [event.data.progress.done for event in events]
    assert done == sorted(done)
    ids = [tuple(map(int, event.id.split("-"))) for event in events]
    assert ids == sorted(ids)


def test_a_reconnect_goes_on_after_the_last_event(server: Server, api: Client, digits_run: Run) -> None:
    url = f"{server.url}/api/v1/runs/{digits_run.id}/events"
    first = httpx.get(url, headers={"Last-Event-ID": "0-0"}).text
    ids = [line.removeprefix("id: ") for line in first.splitlines() if line.startswith("id: ")]
    assert len(ids) >= 3
    rest = httpx.get(url, headers={"Last-Event-ID": ids[-2]}).text
    assert [line for line in rest.splitlines() if line.startswith("id: ")] == [f"id: {ids[-1]}"]


def test_maps_as_json_csv_parquet_and_safetensors_agree(
    api: Client, server: Server, digits_run: Run, tmp_path: Path
) -> None:
    data = api.importance_map(digits_run.id, "two-sided", "neuron")
    scores = np.array(data.scores)
    assert list(scores.shape) == data.shape == [4, 40]
    api.save_map(digits_run.id, "two-sided", "neuron", tmp_path / "m.safetensors")
    found = ImportanceMap.load(tmp_path / "m.safetensors")
    assert np.array_equal(found.scores[UnitKind.NEURON], scores)
    text = httpx.get(f"{server.url}/api/v1/runs/{digits_run.id}/maps/two-sided/neuron?format=csv").text
    rows = [float(row["score"]) for row in csv.DictReader(io.StringIO(text))]
    assert np.array_equal(np.array(rows).reshape(4, 40), scores)
    api.save_map(digits_run.id, "two-sided", "neuron", tmp_path / "m.parquet")
    assert np.array_equal(pd.read_parquet(tmp_path / "m.parquet")["score"].to_numpy().reshape(4, 40), scores)
    with pytest.raises(ModelShapleyError, match=r"m\.xlsx: a map is saved as \.csv, \.parquet or \.safetensors"):
        api.save_map(digits_run.id, "two-sided", "neuron", tmp_path / "m.xlsx")
    pooled = api.importance_map(digits_run.id, "two-sided", "neuron", columns=8)
    assert np.array_equal(np.array(pooled.scores), scores.reshape(4, 8, 5).max(-1))
    assert data.provenance["revision"] == found.provenance["revision"]


def answers_with_zeroed_weights(loaded: LoadedModel, task_id: str, off: Deactivation) -> np.ndarray:
    """The reference: weights set to zero, other batches than a trial's, no gates anywhere."""
    task = load_task(task_id)
    examples = task.examples(Split.TEST, 0)
    with zeroed_weights(loaded.model, loaded.anatomy, off), torch.inference_mode():
        parts = [task.correct(loaded, examples[i : i + 13]) for i in range(0, len(examples), 13)]
    return torch.cat(parts).numpy()


OFFS = {
    "heads": Off(head=[(0, 0), (0, 2), (1, 1)]),
    "neurons": Off(neuron=[(layer, i) for layer in range(2) for i in range(25)]),
    "layer": Off(layer=[1]),
    "mixed": Off(layer=[2], head=[(0, 1)], neuron=[(0, 3), (1, 4)]),
}


@pytest.mark.parametrize("name", OFFS)
def test_a_digits_trial_equals_zeroed_weights(api: Client, digits_run: Run, digits_vit: LoadedModel, name: str) -> None:
    trial = api.measure(TrialRequest(run=digits_run.id, off=OFFS[name]))
    assert trial.status is Status.DONE, trial.error
    reference = answers_with_zeroed_weights(digits_vit, "digits", OFFS[name].deactivation())
    assert trial.n == trial.total == len(reference) == 360
    assert trial.accuracy == pytest.approx(reference.mean(), abs=1e-12)
    intact = answers_with_zeroed_weights(digits_vit, "digits", Deactivation())
    assert trial.intact == pytest.approx(intact.mean(), abs=1e-12)
    assert trial.difference == pytest.approx(reference.mean() - intact.mean(), abs=1e-12)
    assert trial.interval is not None
    assert trial.interval[0] < trial.accuracy < trial.interval[1]
    if name != "heads":
        assert trial.accuracy < trial.intact


@pytest.fixture(scope="module")
def short_run(api: Client, server: Server) -> Run:
    """A run of the first layers of the language model."""
    request = CAPITALS_RUN.model_copy(update={"model": put_short_model(server.data), "limit": 8})
    return api.wait(api.submit_run(request).id)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heads", "neurons", "layer"])
def test_a_trial_of_a_language_model_equals_zeroed_weights(
    api: Client, server: Server, short_run: Run, name: str
) -> None:
    short = load(Catalog(server.data).folder(short_run.model))
    assert_trial_equals_zeroed_weights(api, short_run, short, name)


@pytest.mark.slow
def test_a_capitals_trial_equals_zeroed_weights(api: Client, capitals_run: Run, smollm2: LoadedModel) -> None:
    assert_trial_equals_zeroed_weights(api, capitals_run, smollm2, "mixed")


def assert_trial_equals_zeroed_weights(api: Client, run: Run, loaded: LoadedModel, name: str) -> None:
    assert run.status is Status.DONE, run.error
    off = OFFS[name]
    if name == "neurons":
        off = Off(neuron=[(layer, i) for layer in range(2) for i in range(0, 1536, 3)])
    trial = api.measure(TrialRequest(run=run.id, off=off))
    reference = answers_with_zeroed_weights(loaded, "world-capitals", off.deactivation())
    assert trial.n == len(reference) == 94
    assert trial.accuracy == pytest.approx(reference.mean(), abs=1e-12)


def test_a_share_of_the_ranking_is_the_same_as_naming_its_units(api: Client, digits_run: Run) -> None:
    ranked = TrialRequest(run=digits_run.id, method="two-sided", unit=UnitKind.NEURON, which="most", fraction=0.25)
    trial = api.measure(ranked)
    scores = np.array(api.importance_map(digits_run.id, "two-sided", "neuron").scores)
    top = np.argsort(-scores.reshape(-1), kind="stable")[:40]
    assert sorted(trial.off.neuron) == sorted((int(i) // 40, int(i) % 40) for i in top)
    assert trial.counts[UnitKind.NEURON] == 40
    assert trial.accuracy is not None
    assert trial.intact is not None
    assert trial.accuracy < trial.intact - 0.1
    least = api.measure(ranked.model_copy(update={"which": "least"}))
    assert least.accuracy is not None
    assert least.accuracy > trial.accuracy


def test_help_and_harm_are_weighed_anew_after_the_run(api: Client, digits_run: Run) -> None:
    """By `?harm=`, by the method's name, in a trial's ranking, all the same; and signed is help minus harm."""
    computed = api.importance_map(digits_run.id, "two-sided", "head")
    harsh = api.importance_map(digits_run.id, "two-sided", "head", harm=0)
    named = api.importance_map(digits_run.id, "two-sided,harm=0", "head")
    signed = api.importance_map(digits_run.id, "two-sided", "head", harm="signed")
    assert harsh.scores == named.scores != computed.scores
    assert named.provenance["parameters"] == {"harm": 0}
    assert signed.signed
    # At harm h a score is help + harm + h (help - harm).
    expected = np.array(harsh.scores) + 0.5 * np.array(signed.scores)
    np.testing.assert_allclose(np.array(computed.scores, float), expected, atol=1e-12)
    ranked = TrialRequest(
        run=digits_run.id, method="two-sided,harm=signed", unit=UnitKind.HEAD, which="least", fraction=0.25
    )
    lowest = np.argsort(np.array(signed.scores).reshape(-1), kind="stable")[:4]
    assert sorted(api.measure(ranked).off.head) == sorted((int(i) // 4, int(i) % 4) for i in lowest)
    with pytest.raises(ApiError, match=r"no map of heads by 'random,harm=1'|no parameter 'harm'"):
        api.importance_map(digits_run.id, "random", "head", harm=1)
    with pytest.raises(ApiError, match="harm"):
        api.importance_map(digits_run.id, "two-sided", "head", harm=-1)


def test_a_method_with_parameters_keeps_them_in_its_name(api: Client, digits_run: Run) -> None:
    found = api.importance_map(digits_run.id, "path-shapley,points=2", "layer")
    assert found.method == "path-shapley,points=2"
    assert found.provenance["parameters"] == {"points": 2, "harm": "signed"}
    assert found.signed


def test_an_equal_deactivation_is_answered_at_once(api: Client, digits_run: Run) -> None:
    first = api.measure(TrialRequest(run=digits_run.id, off=Off(head=[(3, 3), (2, 2)])))
    again = api.submit_trial(TrialRequest(run=digits_run.id, off=Off(head=[(2, 2), (3, 3), (2, 2)])))
    assert again.id == first.id
    assert again.status is Status.DONE


def test_a_newer_trial_of_a_session_supersedes_older_ones(api: Client, capitals_run: Run) -> None:
    trials = [
        api.submit_trial(TrialRequest(run=capitals_run.id, off=Off(head=[(i, 8)]), session="tab")) for i in range(4)
    ]
    last = [event.data for event in api.trial_events(trials[-1].id)][-1]
    assert last.status is Status.DONE
    assert [api.trial(t.id).status for t in trials[:-1]] == [Status.CANCELLED] * 3


def test_trial_events_grow_to_the_whole_test_set(api: Client, digits_run: Run) -> None:
    trial = api.submit_trial(TrialRequest(run=digits_run.id, off=Off(neuron=[(3, 3), (2, 2)])))
    counts = [event.data.n for event in api.trial_events(trial.id)]
    assert counts == sorted(counts)
    assert counts[-1] == 360


def test_rows_are_scored_pooled_and_switched_off(api: Client, digits_run: Run, digits_vit: LoadedModel) -> None:
    request = RunRequest(model="demo:digits-vit", task="digits", methods=["mean-abs"], units=["row"], limit=64)
    run = api.wait(api.submit_run(request).id)
    assert run.status is Status.DONE, run.error
    rows = np.array(api.importance_map(run.id, "mean-abs", "row").scores)
    pooled = api.importance_map(run.id, "mean-abs", "row", pool="maps")
    assert pooled.columns == ["q", "k", "v", "o", "up", "down"]
    edges = np.cumsum([0, 96, 96, 96, 96, 40, 96])
    assert rows.shape == (4, edges[-1])
    np.testing.assert_allclose(
        np.array(pooled.scores),
        np.stack([rows[:, start:stop].mean(1) for start, stop in itertools.pairwise(edges)], axis=1),
    )
    # All query rows of layer 2: the same as attention that sees no question.
    trial = api.measure(TrialRequest(run=run.id, off=Off(row=[(2, r) for r in range(96)])))
    task, attention = load_task("digits"), digits_vit.model.vit.layers[2].attention
    saved = copy.deepcopy(attention.q_proj.state_dict())
    for parameter in attention.q_proj.parameters():
        parameter.data.zero_()
    examples = task.examples(Split.TEST)
    with torch.no_grad():
        expected = float(task.correct(digits_vit, examples).double().mean())
    attention.q_proj.load_state_dict(saved)
    assert trial.accuracy == pytest.approx(expected)
    with pytest.raises(ApiError, match="Only rows belong to linear maps"):
        api.importance_map(digits_run.id, "two-sided", "neuron", pool="maps")


def test_what_there_is(api: Client, digits_run: Run) -> None:
    health = api.health()
    assert (health.status, health.redis, health.database, health.workers) == ("ok", True, True, 1)
    models = {model.id: model for model in api.models()}
    assert models["demo:digits-vit"].shapes == {
        "neuron": [4, 40],
        "head": [4, 4],
        "layer": [4],
        "row": [4, 5 * 96 + 40],
    }
    smollm2 = models["demo:smollm2-135m"]
    assert smollm2.shapes == {"neuron": [30, 1536], "head": [30, 9], "layer": [30], "row": [30, 5184]}
    assert smollm2.layout.projections[29] == {
        "q": 576,
        "k": 192,
        "v": 192,
        "o": 576,
        "gate": 1536,
        "up": 1536,
        "down": 576,
    }
    assert {task.id for task in api.tasks() if not task.own} == set(TASKS)
    assert {m.id for m in api.methods()} >= {
        "model-shapley",
        "model-shapley-paper",
        "mean-abs",
        "two-sided",
        "random",
    }
    (worker,) = api.workers()
    assert worker.queues == ["trials", "runs", "checks"]
    # The server is shared: a test that cancels may have ended the worker of this run, and another has its place.
    host, _, pid = worker.name.rpartition("-")
    assert (host, pid) == ((digits_run.worker or "").rpartition("-")[0], str(worker.pid))
