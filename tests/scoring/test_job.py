"""Scoring in batches, shards and classes: any split gives the same map, and a run can stop and go on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelshapley.errors import BadParameter, ModelShapleyError, TaskMismatch, UnknownName
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import METHODS, load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.accumulator import ScoreAccumulator, half_of
from modelshapley.scoring.job import Scoring, accumulate, score
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind
from tests.support.toys import KINDS, LLAMA, VIT, ToyTask, tiny

LOADED = tiny(VIT)
DOUBLE = tiny(VIT)
DOUBLE.model.double()


# Not so many passes as by default, and weights by place that are not all one.
CHEAP = {
    "path-shapley": "path-shapley,points=2",
    "coalition-shapley": "coalition-shapley,passes=4",
    "permutation-shapley": "permutation-shapley,pairs=1",
    "ablation-regression": "ablation-regression,passes=12,utility=loss",
    "model-shapley-paper": "model-shapley-paper,alpha=0.3,batch=3",
}


class ClassedTask(ToyTask):
    """The toy task with the label of an example as its class; the first example has none."""

    def __init__(self, loaded: LoadedModel, **sizes: int) -> None:
        super().__init__(loaded, **sizes)
        self.info = self.info.model_copy(update={"classes": "labels"})
        self._without = self.examples(Split.PROBE)[0]

    def class_of(self, example: Any) -> str | None:
        return None if example is self._without else str(int(example[1]))


def scoring(
    batch: int = 5,
    limit: int = 100,
    seed: int = 0,
    loaded: LoadedModel = LOADED,
    per_class: bool = False,
    methods: Collection[str] = METHODS,
    kinds: Collection[UnitKind] = (UnitKind.HEAD, UnitKind.LAYER),
) -> Scoring:
    task = ClassedTask(loaded)
    task.probe_batch = batch
    chosen = [load_method(CHEAP.get(method, method)) for method in methods]
    return Scoring(loaded, task, chosen, kinds, limit, seed, per_class)


def assert_same(
    a: dict[str, ImportanceMap], b: dict[str, ImportanceMap], rtol: float = 1e-4, atol: float = 1e-7
) -> None:
    assert a.keys() == b.keys()
    for method in a:
        for kind in a[method].scores:
            np.testing.assert_allclose(a[method].scores[kind], b[method].scores[kind], rtol=rtol, atol=atol)
            np.testing.assert_allclose(
                a[method].standard_errors[kind], b[method].standard_errors[kind], rtol=rtol, atol=atol
            )


@cache
def in_one_batch() -> dict[str, ImportanceMap]:
    return score(scoring(13))


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 13))
def test_any_batch_size_gives_the_same_maps(batch: int) -> None:
    assert_same(score(scoring(batch)), in_one_batch(), rtol=1e-3)


@pytest.mark.parametrize("stop_after", [1, 2])
def test_stopping_and_resuming_gives_the_same_maps_bit_for_bit(stop_after: int) -> None:
    job = scoring()
    whole = score(job)
    sums = ScoreAccumulator(job.plan())
    for step, _ in enumerate(job.steps(sums), start=1):
        if step == stop_after:
            break
    resumed = ScoreAccumulator.resume(sums.to_bytes(), job.plan())
    assert resumed.done == 5 * stop_after
    done = [done for done, _ in job.steps(resumed)]
    assert done[-1] == 13
    for method, found in job.maps(resumed).items():
        for kind in found.scores:
            assert np.array_equal(found.scores[kind], whole[method].scores[kind])
            assert np.array_equal(found.standard_errors[kind], whole[method].standard_errors[kind])


def test_a_checkpoint_of_another_plan_is_not_mixed_in() -> None:
    sums = ScoreAccumulator(scoring().plan())
    next(scoring().steps(sums))
    assert ScoreAccumulator.resume(sums.to_bytes(), scoring(limit=7).plan()).done == 0


def test_shapes_limit_and_provenance() -> None:
    loaded = tiny(LLAMA)
    maps = score(scoring(limit=7, loaded=loaded, methods=["mean-abs"], kinds=KINDS))
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
    score(scoring(methods=["mean-abs"]), lambda done, total: seen.append((done, total)))
    assert seen == [(5, 13), (10, 13), (13, 13)]


def test_a_map_survives_its_file(tmp_path: Path) -> None:
    found = score(scoring(methods=["two-sided"]))["two-sided"]
    found.save(tmp_path / "map.safetensors")
    again = ImportanceMap.load(tmp_path / "map.safetensors")
    assert_same({"x": found}, {"x": again}, rtol=0)
    assert again.provenance == found.provenance
    assert (again.method, again.quantity, again.signed) == (found.method, found.quantity, found.signed)


class DoubleTask(ClassedTask):
    """In double precision, in which batches differ by rounding far below what is asserted."""

    def _logits(self, loaded: LoadedModel, examples: Any) -> Any:
        return super()._logits(loaded, [(pixels.double(), label) for pixels, label in examples])


def in_double(batch: int, per_class: bool = False) -> Scoring:
    task = DoubleTask(DOUBLE)
    task.probe_batch = batch
    chosen = [load_method(CHEAP.get(method, method)) for method in METHODS]
    return Scoring(DOUBLE, task, chosen, [UnitKind.HEAD], 100, 0, per_class)


@st.composite
def shards(draw: st.DrawFn) -> list[tuple[range, int]]:
    """Parts of the 13 examples, in any order, and for each a batch size."""
    cuts = sorted(draw(st.sets(st.integers(1, 12), max_size=4)))
    parts = [range(a, b) for a, b in zip([0, *cuts], [*cuts, 13], strict=True)]
    return [(part, draw(st.integers(1, 13))) for part in draw(st.permutations(parts))]


@settings(max_examples=6, deadline=None)
@given(shards())
def test_any_shards_in_any_order_give_the_map_of_an_undivided_run(split: list[tuple[range, int]]) -> None:
    job = in_double(5, per_class=True)
    whole = WHOLE.setdefault("sums", accumulate(job))
    merged = ScoreAccumulator(job.plan())
    for part, batch in split:
        shard = ScoreAccumulator(job.plan())
        steps = list(in_double(batch, per_class=True).steps(shard, part))
        assert steps[-1] == (len(part), len(part))
        merged.merge(ScoreAccumulator.from_bytes(shard.to_bytes()))
    assert_same(job.maps(merged), job.maps(whole), rtol=1e-9, atol=1e-12)
    for label in whole.classes:
        assert_same(job.maps(merged, label), job.maps(whole, label), rtol=1e-9, atol=1e-12)
    for half in (0, 1):
        here, there = ({spec: pair[half] for spec, pair in job.half_maps(sums).items()} for sums in (merged, whole))
        assert_same(here, there, rtol=1e-9, atol=1e-12)


WHOLE: dict[str, ScoreAccumulator] = {}


@pytest.mark.parametrize("of", [1, 2, 3, 7, 20])
def test_shards_are_whole_batches_and_hold_every_example_once(of: int) -> None:
    job = scoring(batch=4)
    parts = [job.shard(number, of) for number in range(1, of + 1)]
    assert [i for part in parts for i in part] == list(range(13))
    assert all(part.start % 4 == 0 for part in parts if part)
    sizes = [-(-len(part) // 4) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for number in (0, of + 1):
        with pytest.raises(BadParameter, match=f"no shard {number} of {of}"):
            job.shard(number, of)


def test_a_shard_runs_the_batches_of_an_undivided_run_so_that_only_the_order_of_adding_differs() -> None:
    job = scoring(batch=4)
    merged = ScoreAccumulator(job.plan())
    for number in (3, 1, 2):
        for _ in job.steps(merged, job.shard(number, 3)):
            pass
    assert_same(job.maps(merged), score(job), rtol=1e-12, atol=1e-15)


def test_examples_that_are_in_are_not_run_again() -> None:
    job = scoring(methods=["mean-abs"])
    sums = ScoreAccumulator(job.plan())
    assert list(job.steps(sums, range(4, 9))) == [(5, 5)]
    assert list(job.steps(sums, range(4, 9))) == []
    assert list(job.steps(sums)) == [(9, 13), (13, 13)]


def test_half_maps_are_those_of_two_runs_over_half_the_examples() -> None:
    job = scoring(batch=4, methods=["two-sided", "mean-abs", "random"])
    found = job.half_maps(accumulate(job))
    for half, name in enumerate(("first", "second")):
        task = ToyTask(LOADED)
        mine = [example for place, example in enumerate(job.examples) if half_of(place) == half]
        task._data = {Split.PROBE: mine}
        by_hand = score(Scoring(LOADED, task, job.methods, job.kinds, 100))
        assert_same({spec: pair[half] for spec, pair in found.items()}, by_hand)
        assert {pair[half].provenance["half"] for pair in found.values()} == {name}
        assert {pair[half].provenance["n"] for pair in found.values()} == {len(mine)}
    first, second = found["mean-abs"]
    assert not np.allclose(first.scores[UnitKind.HEAD], second.scores[UnitKind.HEAD])
    with pytest.raises(ModelShapleyError, match="score at least 2"):
        job.half_maps(accumulate(scoring(limit=1)))


def test_a_map_of_a_class_is_that_of_a_run_over_its_examples_alone() -> None:
    job = scoring(batch=4, per_class=True, methods=["two-sided", "mean-abs", "gradient-trace", "model-shapley"])
    sums = accumulate(job)
    labels = [job.task.class_of(example) for example in job.examples]
    assert sums.classes == {str(label): labels.count(str(label)) for label in range(5) if str(label) in labels}
    assert len(sums.classes) > 2
    assert labels.count(None) == 1
    for label, n in sums.classes.items():
        task = ToyTask(LOADED)
        task._data = {Split.PROBE: [e for e, of in zip(job.examples, labels, strict=True) if of == label]}
        found = job.maps(sums, label)
        assert_same(found, score(Scoring(LOADED, task, job.methods, job.kinds, 100)))
        assert (found["mean-abs"].provenance["class"], found["mean-abs"].provenance["n"]) == (label, n)
        again = ImportanceMap.from_bytes(found["two-sided"].to_bytes())
        assert again.sides[UnitKind.HEAD].n == n
    assert "class" not in job.maps(sums)["mean-abs"].provenance


def test_maps_of_classes_weighted_by_n_add_up_to_the_whole() -> None:
    job = scoring(per_class=True, methods=["mean-abs", "two-sided", "wanda"])
    assert isinstance(job.task, ToyTask)
    job.task._data[Split.PROBE] = list(job.examples[1:])  # the first has no class
    del job.__dict__["examples"]
    sums = accumulate(job)
    assert sum(sums.classes.values()) == sums.done == 12
    for spec, whole in job.maps(sums).items():
        for kind in job.kinds:
            parts = [n * job.maps(sums, label)[spec].scores[kind] for label, n in sums.classes.items()]
            np.testing.assert_allclose(np.sum(parts, axis=0) / 12, whole.scores[kind], rtol=1e-9)


def test_keeping_classes_apart_changes_nothing_in_the_whole() -> None:
    assert_same(score(scoring(per_class=True)), score(scoring()), rtol=1e-9, atol=1e-12)


def test_the_smoothed_mean_of_a_class_weighs_its_own_examples() -> None:
    """By hand: weights of the run's places, divided by their sum over the class."""
    spec = CHEAP["model-shapley-paper"]
    smoothed, plain = load_method(f"{spec},pool=gate"), load_method("model-shapley-paper,pool=gate")
    job = replace(scoring(batch=4, per_class=True, kinds=[UnitKind.HEAD]), methods=[smoothed, plain])
    sums = accumulate(job)
    batch = np.arange(13) // 3
    weights = np.where(batch == 0, 1.0, 0.3) * 0.7 ** (4 - batch) / np.bincount(batch)[batch]
    values = []
    for place in range(13):
        one = ScoreAccumulator(job.plan())
        list(job.steps(one, range(place, place + 1)))
        moments = one.finish().moments[plain.spec, UnitKind.HEAD, "weighted"]
        values.append(moments.total)
    labels = np.array([str(job.task.class_of(example)) for example in job.examples])
    for label, n in sums.classes.items():
        w, phi = weights[labels == label][:, None, None], np.stack(values)[labels == label]
        mean = (w * phi).sum(0) / w.sum()
        found = job.maps(sums, label)[smoothed.spec]
        np.testing.assert_allclose(found.scores[UnitKind.HEAD], np.abs(mean), rtol=1e-4, atol=1e-7)
        if n > 1:
            error = np.sqrt((w**2 * (phi - mean) ** 2).sum(0) * n / (n - 1)) / w.sum()
            np.testing.assert_allclose(found.standard_errors[UnitKind.HEAD], error, rtol=1e-3, atol=1e-6)


def test_a_task_without_classes_gives_no_map_of_them() -> None:
    job = Scoring(LOADED, ToyTask(LOADED), [load_method("mean-abs")], [UnitKind.HEAD], 5, 0, True)
    with pytest.raises(TaskMismatch, match=r"'toy' have no classes.*leave per_class out"):
        score(job)
    sums = accumulate(scoring(per_class=True, methods=["mean-abs"]))
    with pytest.raises(UnknownName, match="no class in these sums 'seven'"):
        scoring(per_class=True, methods=["mean-abs"]).maps(sums, "seven")
