"""Runs in shards and per class, on real servers: the same maps as undivided, whatever happens to the workers."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from backend.settings import Settings
from backend.store.files import Storage
from backend.store.records import Records
from modelshapley import load_task
from modelshapley.client import ApiError, Client
from modelshapley.contracts import Run, RunRequest, Status
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.catalog import ASSETS
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind
from tests.conftest import CAPITALS_RUN, DIGITS_RUN, Server, StartServer
from tests.support.command_line import run as command_line
from tests.support.short_model import SHORT, put_short_model

METHODS = ["two-sided", "mean-abs", "model-shapley-paper,alpha=0.2", "coalition-shapley,passes=2", "random"]
DIGITS = DIGITS_RUN.model_copy(update={"methods": METHODS})
SLOW = CAPITALS_RUN.model_copy(update={"model": SHORT, "seed": 5, "shards": 2})


@pytest.fixture(name="pair", scope="module")
def _pair(start_server: StartServer) -> Server:
    """A server with two workers that save a checkpoint after every batch."""
    server = start_server("--workers", "2", MODELSHAPLEY_CHECKPOINT_SECONDS="0.01", MODELSHAPLEY_THREADS="1")
    put_short_model(server.data)
    return server


def assert_same_maps(api: Client, one: Run, other: Run, rel: float) -> None:
    assert len(one.maps) == len(other.maps) > 0
    for link in one.maps:
        a, b = (api.importance_map(run.id, link.method, link.unit) for run in (one, other))
        assert a.provenance["n"] == b.provenance["n"]
        for name in ("scores", "standard_errors"):
            here, there = (np.array(getattr(data, name), dtype=float) for data in (a, b))
            np.testing.assert_allclose(here, there, rtol=rel, atol=1e-3 * rel, err_msg=f"{link.method} {name}")


def sums_of(server: Server, run_id: str) -> list[Path]:
    return sorted((server.data / "runs" / run_id).glob("sums-*"))


def assert_no_sums_are_kept(server: Server, run_id: str) -> None:
    """They go right after the run has ended."""
    deadline = time.monotonic() + 10
    while sums_of(server, run_id):
        assert time.monotonic() < deadline, sums_of(server, run_id)
        time.sleep(0.1)


@pytest.mark.timeout(240)
def test_three_shards_give_the_map_of_an_undivided_run(pair: Server) -> None:
    with Client(pair.url) as api:
        submitted = api.submit_run(DIGITS.model_copy(update={"shards": 3}))
        events = [event.data for event in api.run_events(submitted.id)]
        run = api.run(submitted.id)
        assert run.status is Status.DONE, run.error
        assert run.shards == 3
        assert (run.progress.done, run.progress.total) == (256, 256)
        done = [event.progress.done for event in events]
        assert done == sorted(done)
        assert len(set(done)) > 3
        assert {event.progress.total for event in events if event.progress.done} == {256}
        assert_no_sums_are_kept(pair, run.id)
        undivided = api.wait(api.submit_run(DIGITS).id)
        assert undivided.shards == 1
        assert_same_maps(api, run, undivided, rel=1e-4)


@pytest.mark.timeout(240)
def test_more_shards_than_batches_are_no_harm(pair: Server) -> None:
    with Client(pair.url) as api:
        request = DIGITS.model_copy(update={"methods": ["mean-abs"], "limit": 40})
        run = api.wait(api.submit_run(request.model_copy(update={"shards": 6})).id)
        assert run.status is Status.DONE, run.error
        assert run.progress.done == 40
        assert_same_maps(api, run, api.wait(api.submit_run(request).id), rel=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_shard_whose_worker_is_killed_goes_on_and_counts_once(pair: Server) -> None:
    with Client(pair.url) as api:
        submitted = api.submit_run(SLOW)
        busy = {}
        for event in api.run_events(submitted.id):
            busy = {w.pid: w.current for w in api.workers() if w.current and w.current.startswith("run:")}
            if event.data.progress.done >= 16 and len(busy) == 2 and len(sums_of(pair, submitted.id)) == 2:
                break
        assert sorted(busy.values()) == [f"run:{submitted.id}:{number}" for number in (1, 2)]
        killed = min(pid for pid in busy if pid)
        os.kill(killed, signal.SIGKILL)
        events = [event.data for event in api.run_events(submitted.id)]
        run = api.run(submitted.id)
        assert run.status is Status.DONE, run.error
        assert run.progress.done == 64
        done = [event.progress.done for event in events]
        assert done == sorted(done), "told is only what is saved, so a shard that goes on loses nothing"
        assert_no_sums_are_kept(pair, run.id)
        undivided = api.wait(api.submit_run(SLOW.model_copy(update={"shards": 1})).id)
        assert_same_maps(api, run, undivided, rel=1e-3)
        assert api.importance_map(run.id, "mean-abs", "head").provenance["n"] == 64


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_cancelled_run_stops_all_its_shards(pair: Server) -> None:
    with Client(pair.url) as api:
        run = api.submit_run(SLOW.model_copy(update={"shards": 4}))
        for event in api.run_events(run.id):
            if event.data.progress.done:
                break
        assert api.cancel_run(run.id).status is Status.CANCELLED
        deadline = time.monotonic() + 90
        while any("run" in (w.current or "") for w in api.workers()) or sums_of(pair, run.id):
            assert time.monotonic() < deadline, (api.workers(), sums_of(pair, run.id))
            time.sleep(0.2)
        assert api.run(run.id).progress.done < 64
        assert api.wait(api.submit_run(DIGITS).id).status is Status.DONE, "both workers are free again"


@pytest.mark.timeout(240)
def test_a_failed_shard_fails_the_run_with_its_reason(start_server: StartServer) -> None:
    """The model's files go away between the check and the work."""
    first = start_server("--workers", "0")
    folder = first.data / "models" / "mine"
    shutil.copytree(ASSETS / "digits-vit", folder)
    with Client(first.url) as api:
        run = api.submit_run(DIGITS.model_copy(update={"model": "local:mine", "shards": 3}))
    first.stop()
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    second = start_server(data=first.data)
    with Client(second.url) as api:
        ended = api.wait(run.id)
        assert ended.status is Status.FAILED
        assert ended.error
        assert "mine" in ended.error
        deadline = time.monotonic() + 60
        while any(w.current for w in api.workers()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert api.run(run.id).status is Status.FAILED
        assert_no_sums_are_kept(second, run.id)


@pytest.mark.timeout(240)
def test_a_wiped_queue_is_filled_again_with_the_shards_that_are_not_finished(
    start_server: StartServer, digits_vit: LoadedModel
) -> None:
    """Shard 2 of 3 is finished, by a mark that a real one would not bear: it must be merged, not done again."""
    first = start_server("--workers", "0")
    request = DIGITS.model_copy(update={"methods": ["mean-abs"], "shards": 3})
    with Client(first.url) as api:
        run = api.submit_run(request)
    first.stop()
    for file in (first.data / "redis").rglob("*.aof*"):
        file.unlink()
    task = load_task("digits")
    job = Scoring(digits_vit, task, [load_method("mean-abs")], run.units, run.limit, run.seed)
    part, sums = job.shard(2, 3), ScoreAccumulator(job.plan())
    assert 0 < len(part) < 256
    for _ in job.steps(sums, part):
        pass
    for moments in sums.moments.values():
        moments.total = moments.total + 1000.0
    Storage(str(first.data)).save_sums(run.id, 2, sums.to_bytes())
    records = Records(f"sqlite:///{first.data / 'records.sqlite'}")
    records.update_shard(run.id, 2, done=len(part), size=len(part), rate=1.0, total=256)
    assert records.unfinished_shards(run) == [1, 3]
    records.close()
    second = start_server(data=first.data)
    with Client(second.url) as api:
        done = api.wait(run.id)
        assert done.status is Status.DONE, done.error
        assert done.progress.done == 256
        found = np.array(api.importance_map(run.id, "mean-abs", "head").scores)
        plain = score(job)["mean-abs"].scores[UnitKind.HEAD]
        np.testing.assert_allclose(found - plain, 2 * 1000.0 / 256, rtol=1e-4)


@pytest.fixture(name="classed", scope="module")
def _classed(pair: Server) -> Run:
    request = RunRequest(
        model="demo:digits-vit", task="digits", methods=["two-sided", "mean-abs"], per_class=True, shards=2
    )
    with Client(pair.url) as api:
        run = api.wait(api.submit_run(request).id)
    assert run.status is Status.DONE, run.error
    return run


def test_maps_of_classes_are_listed_and_add_up(pair: Server, classed: Run) -> None:
    assert list(classed.classes) == [str(digit) for digit in range(10)]
    assert sum(classed.classes.values()) == 256
    with Client(pair.url) as api:
        for method in ("two-sided", "mean-abs"):
            whole = np.array(api.importance_map(classed.id, method, "neuron").scores)
            total = np.zeros_like(whole)
            for label, n in classed.classes.items():
                found = api.importance_map(classed.id, method, "neuron", label=label)
                assert (found.provenance["class"], found.provenance["n"]) == (label, n)
                total += n * np.array(found.scores)
            np.testing.assert_allclose(total / 256, whole, rtol=1e-9)


def test_a_map_of_a_class_is_that_of_its_examples_in_every_format(
    pair: Server, classed: Run, digits_vit: LoadedModel, tmp_path: Path
) -> None:
    task = load_task("digits")

    class Sevens(type(task)):  # type: ignore[misc]
        def examples(self, split: Split, seed: int = 0) -> list[object]:
            return [digit for digit in task.examples(split, seed)[:256] if digit.label == 7]

    by_hand = score(Scoring(digits_vit, Sevens(), [load_method("two-sided")], [UnitKind.HEAD], 256))["two-sided"]
    with Client(pair.url) as api:
        data = api.importance_map(classed.id, "two-sided", "head", label="7")
        np.testing.assert_allclose(np.array(data.scores, float), by_hand.scores[UnitKind.HEAD], rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(
            np.array(data.standard_errors, float), by_hand.standard_errors[UnitKind.HEAD], rtol=1e-3
        )
        api.save_map(classed.id, "two-sided", "head", tmp_path / "m.safetensors", label="7")
        api.save_map(classed.id, "two-sided", "head", tmp_path / "m.csv", label="7")
        harsh = api.importance_map(classed.id, "two-sided", "head", harm=0, label="7")
    kept = ImportanceMap.load(tmp_path / "m.safetensors")
    assert np.array_equal(kept.scores[UnitKind.HEAD], np.array(data.scores, float))
    assert kept.provenance["class"] == "7"
    rows = [float(row["score"]) for row in csv.DictReader(io.StringIO((tmp_path / "m.csv").read_text()))]
    assert np.array_equal(np.array(rows).reshape(4, 4), np.array(data.scores, float))
    assert np.array_equal(kept.with_harm(0).scores[UnitKind.HEAD], np.array(harsh.scores, float))
    url = f"{pair.url}/api/v1/runs/{classed.id}/maps/two-sided/head?format=csv&class=7"
    assert f"{classed.id}-two-sided-head-7.csv" in httpx.get(url).headers["content-disposition"]


def test_classes_that_are_not_there_are_answered_in_words(pair: Server, classed: Run) -> None:
    with Client(pair.url) as api:
        with pytest.raises(ApiError, match=r"no class 'seven'; its classes are 0, 1, 2, .*9") as unknown:
            api.importance_map(classed.id, "mean-abs", "head", label="seven")
        assert unknown.value.problem.status == 404
        plain = api.wait(api.submit_run(DIGITS.model_copy(update={"methods": ["mean-abs"], "limit": 32})).id)
        assert plain.classes == {}
        with pytest.raises(ApiError, match="per_class true") as without:
            api.importance_map(plain.id, "mean-abs", "head", label="7")
        assert without.value.problem.status == 404


@pytest.mark.parametrize("shards", [0, 65, -1])
def test_a_number_of_shards_that_cannot_be_is_refused(pair: Server, shards: int) -> None:
    answer = httpx.post(
        f"{pair.url}/api/v1/runs", json={"model": "demo:digits-vit", "task": "digits", "shards": shards}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].endswith("shards")


def test_a_checkpoint_is_not_left_longer_than_thirty_seconds() -> None:
    assert Settings().checkpoint_seconds <= 30
    with pytest.raises(ValidationError, match="checkpoint_seconds"):
        Settings(checkpoint_seconds=31)


def test_the_command_line_writes_a_file_for_each_class(tmp_path: Path) -> None:
    options = ["--task", "digits", "--method", "mean-abs", "--units", "head", "--limit", "60", "--per-class"]
    answer = command_line("score", "demo:digits-vit", *options, "--out", "map.safetensors", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"map.safetensors"} | {f"map.{digit}.safetensors" for digit in range(10)}
    counts = [ImportanceMap.load(tmp_path / f"map.{digit}.safetensors").provenance["n"] for digit in range(10)]
    assert sum(counts) == ImportanceMap.load(tmp_path / "map.safetensors").provenance["n"] == 60
