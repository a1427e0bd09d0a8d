"""Batches by length: every example once, within the budget, and none of it shows in a map."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshapley.evaluation.trials import in_passes
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring, accumulate, score
from modelshapley.tasks.base import Split
from modelshapley.tasks.batching import WINDOW, batch_edges, batch_end, length_batches, order_by_length
from modelshapley.units import UnitKind
from tests.support.task_data import ASK, jsonl, model, task, tokenizer
from tests.support.toys import LLAMA

SIZES = st.lists(st.integers(1, 40), max_size=60)


def fits(sizes: list[int], most: int, tokens: int) -> bool:
    return len(sizes) == 1 or (len(sizes) <= most and len(sizes) * max(sizes) <= tokens)


@given(SIZES, st.integers(1, 9), st.integers(1, 200))
def test_batches_of_neighbours_hold_every_place_once_and_keep_to_the_budget(
    sizes: list[int], most: int, tokens: int
) -> None:
    edges = batch_edges(sizes, most, tokens)
    assert edges[0] == 0
    assert edges[-1] == len(sizes)
    for start, stop in pairwise(edges):
        assert start < stop == batch_end(sizes, start, most, tokens)
        assert fits(sizes[start:stop], most, tokens)
        if stop < len(sizes):  # no batch could have taken one more
            assert not fits(sizes[start : stop + 1], most, tokens)


@given(SIZES, st.integers(1, 9))
def test_neighbours_are_of_like_size_and_stretches_keep_their_examples(sizes: list[int], most: int) -> None:
    order = order_by_length(sizes, most)
    assert sorted(order) == list(range(len(sizes)))
    stretch = WINDOW * most
    for start in range(0, len(sizes), stretch):
        part = order[start : start + stretch]
        assert set(part) == set(range(start, min(start + stretch, len(sizes))))
        assert part == sorted(part, key=lambda i: (sizes[i], i))


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 40))
def test_equal_sizes_keep_their_order(n: int, most: int, size: int) -> None:
    assert order_by_length([size] * n, most) == list(range(n))
    assert [i for part in length_batches([size] * n, most, 100) for i in part] == list(range(n))


@given(SIZES, st.integers(1, 9), st.integers(1, 200))
def test_groups_hold_every_place_once_longest_first(sizes: list[int], most: int, tokens: int) -> None:
    found = length_batches(sizes, most, tokens)
    assert sorted(place for part in found for place in part) == list(range(len(sizes)))
    assert all(fits([sizes[place] for place in part], most, tokens) for part in found)
    in_order = [sizes[place] for part in found for place in part]
    assert in_order == sorted(in_order, reverse=True)


# -- in a score ---------------------------------------------------------------------------------

LOADED = model(LLAMA, tokenizer())
LOADED.model.double()
KINDS = (UnitKind.HEAD, UnitKind.NEURON, UnitKind.LAYER)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "3", "apples"]
    rows = [
        {
            "question": " ".join(rng.choice(words, rng.integers(1, 9))),
            "answer": " ".join(rng.choice(words, 1 + i % 5)),
        }
        for i in range(23)
    ]
    for split in ("train", "test"):
        jsonl(folder / f"{split}.jsonl", rows)
    return folder


def scoring(root: Path, batch: int, tokens: int, loaded: LoadedModel = LOADED) -> Scoring:
    made = task(root, ASK, probe={"split": "train"}, limit=20)
    made.probe_batch, made.pass_tokens = batch, tokens
    methods = [load_method(name) for name in ("two-sided", "mean-abs", "path-shapley,points=2")]
    return Scoring(loaded, made, methods, KINDS, limit=17, seed=3)


def assert_same(one: dict[str, ImportanceMap], other: dict[str, ImportanceMap]) -> None:
    for spec, whole in one.items():
        for kind, values in whole.scores.items():
            scale = np.abs(values).max()
            assert scale > 1e-4
            np.testing.assert_allclose(other[spec].scores[kind], values, atol=1e-6 * scale)
            assert not np.allclose(values, values.mean(), atol=1e-3 * scale) or values.size == 1


@pytest.mark.parametrize(("batch", "tokens"), [(5, 4096), (16, 100), pytest.param(16, 1, marks=pytest.mark.slow)])
def test_batches_of_any_size_give_the_map_of_batches_of_one(root: Path, batch: int, tokens: int) -> None:
    alone, job = scoring(root, 1, 4096), scoring(root, batch, tokens)
    assert {e.where for e in job.examples} == {e.where for e in alone.examples}
    assert len(set(job.sizes)) > 4
    assert len(job.examples) == 17
    assert_same(score(alone), score(job))


def test_shards_of_batches_by_tokens_add_up_to_the_whole(root: Path) -> None:
    job = scoring(root, 16, 60)
    whole, merged = accumulate(job), ScoreAccumulator(job.plan())
    parts = [job.shard(number, 4) for number in range(1, 5)]
    assert [place for part in parts for place in part] == list(range(17))
    for part in parts:
        shard = ScoreAccumulator(job.plan())
        for _ in job.steps(shard, part):
            pass
        merged.merge(shard)
    assert merged.done == 17
    assert_same(job.maps(whole), job.maps(merged))
    many = [job.shard(number, 40) for number in range(1, 41)]
    assert [place for part in many for place in part] == list(range(17))


def test_passes_keep_the_order_of_the_examples(root: Path) -> None:
    made = task(root, ASK, probe={"split": "train"})
    examples = made.select(LOADED, Split.TEST)
    made.pass_tokens = 50
    found = in_passes(LOADED, made, examples, made.losses)
    alone = [made.losses(LOADED, [example]).item() for example in examples]
    np.testing.assert_allclose(found, alone, rtol=1e-6)
    assert len({round(loss, 6) for loss in alone}) > 10
