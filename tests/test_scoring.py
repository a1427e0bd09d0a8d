"""Sums over examples: any batching gives the same map, and a run can stop and go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelshapley.importance import ImportanceMap
from modelshapley.methods import METHODS, load_method
from modelshapley.scoring import Scoring, Sums, score
from modelshapley.units import UnitKind
from tests.toys import KINDS, LLAMA, VIT, ToyTask, tiny

LOADED = tiny(VIT)


def scoring(batch: int = 5, limit: int = 100, seed: int = 0, loaded=LOADED) -> Scoring:
    task = ToyTask(loaded)
    task.probe_batch = batch
    return Scoring(loaded, task, [load_method(m) for m in METHODS], KINDS, limit, seed)


def assert_same(a: dict[str, ImportanceMap], b: dict[str, ImportanceMap], rtol: float = 1e-4) -> None:
    for method in a:
        for kind in KINDS:
            np.testing.assert_allclose(a[method].scores[kind], b[method].scores[kind], rtol=rtol, atol=1e-7)
            np.testing.assert_allclose(
                a[method].standard_errors[kind], b[method].standard_errors[kind], rtol=rtol, atol=1e-7
            )


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 13))
def test_any_batch_size_gives_the_same_maps(batch: int) -> None:
    assert_same(score(scoring(batch)), score(scoring(13)), rtol=1e-3)


@pytest.mark.parametrize("stop_after", [1, 2])
def test_stopping_and_resuming_gives_the_same_maps_bit_for_bit(stop_after: int) -> None:
    job = scoring()
    whole = score(job)
    sums = Sums(job.plan())
    for step, _ in enumerate(job.steps(sums), start=1):
        if step == stop_after:
            break
    resumed = Sums.resume(sums.to_bytes(), job.plan())
    assert resumed.done == 5 * stop_after
    done = [done for done, _ in job.steps(resumed)]
    assert done[-1] == 13
    for method, found in job.maps(resumed).items():
        for kind in KINDS:
            assert np.array_equal(found.scores[kind], whole[method].scores[kind])
            assert np.array_equal(found.standard_errors[kind], whole[method].standard_errors[kind])


def test_a_checkpoint_of_another_plan_is_not_mixed_in() -> None:
    sums = Sums(scoring().plan())
    next(scoring().steps(sums))
    assert Sums.resume(sums.to_bytes(), scoring(limit=7).plan()).done == 0


def test_shapes_limit_and_provenance() -> None:
    loaded = tiny(LLAMA)
    maps = score(scoring(limit=7, loaded=loaded))
    found = maps["mean-abs"]
    assert found.scores[UnitKind.NEURON].shape == (3, 20)
    assert found.scores[UnitKind.HEAD].shape == (3, 4)
    assert found.scores[UnitKind.LAYER].shape == (3,)
    assert found.provenance["n"] == 7
    assert found.provenance["revision"] == loaded.revision
    assert set(found.provenance) >= {
        "model",
        "task",
        "task_fingerprint",
        "seed",
        "method",
        "parameters",
        "versions",
    }


def test_only_the_kinds_asked_for_are_scored() -> None:
    job = Scoring(LOADED, ToyTask(LOADED), [load_method("mean-abs")], [UnitKind.HEAD], 5)
    assert list(score(job)["mean-abs"].scores) == [UnitKind.HEAD]


def test_progress_counts_up_to_the_total() -> None:
    seen: list[tuple[int, int]] = []
    score(scoring(), lambda done, total: seen.append((done, total)))
    assert seen == [(5, 13), (10, 13), (13, 13)]


def test_a_map_survives_its_file(tmp_path: Path) -> None:
    found = score(scoring())["two-sided"]
    found.save(tmp_path / "map.safetensors")
    again = ImportanceMap.load(tmp_path / "map.safetensors")
    assert_same({"x": found}, {"x": again}, rtol=0)
    assert again.provenance == found.provenance
    assert (again.method, again.quantity, again.signed) == (found.method, found.quantity, found.signed)
