"""The accumulator: any split into batches and shards, in any order, adds up to the same; nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelshapley.errors import ModelShapleyError, UnknownName
from modelshapley.scoring.accumulator import Key, ScoreAccumulator, Total, half_of
from modelshapley.units import UnitKind

PLAN = {"model": "m", "seed": 0, "methods": ["a", "b,points=2"]}
KEYS: list[Key] = [
    ("a", UnitKind.NEURON, "value"),
    ("b,points=2", UnitKind.HEAD, "help"),
    ("b,points=2", UnitKind.HEAD, "harm"),
]
EXAMPLES = 40
VALUES = {key: torch.from_numpy(np.random.default_rng(i).normal(size=(EXAMPLES, 2, 3))) for i, key in enumerate(KEYS)}
LABELS = [None if i % 7 == 0 else "ab/c."[i % 5] for i in range(EXAMPLES)]
Batches = list[tuple[int, int]]


def added(sums: ScoreAccumulator, batch: tuple[int, int]) -> ScoreAccumulator:
    start, stop = batch
    sums.update(start, LABELS[start:stop], ((key, values[start:stop]) for key, values in VALUES.items()))
    return sums


def assert_is_sum_over(total: Total, members: list[int]) -> None:
    assert total.n == len(members)
    for key, values in VALUES.items():
        chosen, found = values[members].numpy(), total.moments[key]
        assert found.n == len(members)
        slack = 1e-9 * np.abs(chosen).sum(0).max()
        np.testing.assert_allclose(found.total, chosen.sum(0), rtol=1e-9, atol=slack)
        np.testing.assert_allclose(found.squares, (chosen**2).sum(0), rtol=1e-9)


@st.composite
def splits(draw: st.DrawFn) -> list[Batches]:
    """Shards, each a list of batches; all together hold every example once. Shards and batches in any order."""
    cuts = sorted(draw(st.sets(st.integers(1, EXAMPLES - 1), max_size=12)))
    batches = draw(st.permutations(list(zip([0, *cuts], [*cuts, EXAMPLES], strict=True))))
    owners = draw(st.lists(st.integers(0, 4), min_size=len(batches), max_size=len(batches)))
    return [[b for b, owner in zip(batches, owners, strict=True) if owner == shard] for shard in range(5)]


@settings(max_examples=150, deadline=None)
@given(splits(), st.booleans())
def test_any_split_into_batches_and_shards_in_any_order_adds_up_to_the_same(
    split: list[Batches], through_a_file: bool
) -> None:
    whole = ScoreAccumulator(PLAN)
    for batches in split:
        shard = ScoreAccumulator(PLAN)
        for batch in batches:
            added(shard, batch)
        whole.merge(ScoreAccumulator.from_bytes(shard.to_bytes()) if through_a_file else shard)
    assert whole.done == EXAMPLES
    assert whole.spans == [(0, EXAMPLES)]
    everything = range(EXAMPLES)
    assert_is_sum_over(whole.finish(), list(everything))
    for half in (0, 1):
        assert_is_sum_over(whole.finish(half=half), [i for i in everything if half_of(i) == half])
    assert whole.classes == {
        label: LABELS.count(label) for label in sorted({label for label in LABELS if label is not None})
    }
    for label in whole.classes:
        assert_is_sum_over(whole.finish(labels=[label]), [i for i in everything if LABELS[i] == label])


@settings(max_examples=60, deadline=None)
@given(splits(), st.integers(0, 30))
def test_stopping_and_resuming_is_exact_to_the_bit(split: list[Batches], stop_after: int) -> None:
    batches = [batch for shard in split for batch in shard]
    calm, stopped = ScoreAccumulator(PLAN), ScoreAccumulator(PLAN)
    for number, batch in enumerate(batches):
        added(calm, batch)
        if number == stop_after:
            stopped = ScoreAccumulator.resume(stopped.to_bytes(), PLAN)
        added(stopped, batch)
    assert calm.counts == stopped.counts
    for key, moments in calm.finish().moments.items():
        assert np.array_equal(moments.total, stopped.finish().moments[key].total)
        assert np.array_equal(moments.squares, stopped.finish().moments[key].squares)


@settings(max_examples=60, deadline=None)
@given(splits(), st.integers(0, EXAMPLES), st.integers(0, EXAMPLES))
def test_what_is_left_of_a_part_is_what_is_not_in(split: list[Batches], start: int, stop: int) -> None:
    sums = ScoreAccumulator(PLAN)
    for batch in split[0] + split[1]:
        added(sums, batch)
    inside = {i for span in split[0] + split[1] for i in range(*span)}
    left = sums.missing_spans(range(start, stop))
    assert [i for gap in left for i in gap] == [i for i in range(start, stop) if i not in inside]
    assert all(len(gap) for gap in left)


@settings(max_examples=60, deadline=None)
@given(splits(), st.integers(0, EXAMPLES - 1), st.integers(1, EXAMPLES))
def test_no_example_counts_twice(split: list[Batches], start: int, length: int) -> None:
    sums, again = ScoreAccumulator(PLAN), added(ScoreAccumulator(PLAN), (start, min(start + length, EXAMPLES)))
    for batch in split[0] + split[1]:
        added(sums, batch)
    before = sums.to_bytes()
    there = {i for span in split[0] + split[1] for i in range(*span)}
    twice = sorted(there & set(range(start, min(start + length, EXAMPLES))))
    if not twice:
        sums.merge(again)
        return
    with pytest.raises(ModelShapleyError, match=rf"Examples {twice[0]} to \d+ of the probe set would count twice"):
        sums.merge(again)
    assert sums.to_bytes() == before


def test_sums_of_another_plan_are_refused_with_what_differs() -> None:
    here, there = added(ScoreAccumulator(PLAN), (0, 5)), added(ScoreAccumulator({**PLAN, "seed": 1}), (5, 9))
    before = here.to_bytes()
    with pytest.raises(ModelShapleyError, match="seed is 0 here and 1 there"):
        here.merge(there)
    assert here.to_bytes() == before
    with pytest.raises(ModelShapleyError, match="per_class is None here and True there"):
        here.merge(ScoreAccumulator({**PLAN, "per_class": True}))


def test_a_batch_that_fails_in_the_middle_leaves_nothing_behind() -> None:
    def failing() -> Iterator[tuple[Key, torch.Tensor]]:
        yield KEYS[0], VALUES[KEYS[0]][5:9]
        raise MemoryError

    sums = added(ScoreAccumulator(PLAN), (0, 5))
    before = sums.to_bytes()
    with pytest.raises(MemoryError):
        sums.update(5, LABELS[5:9], failing())
    assert sums.to_bytes() == before
    assert added(sums, (5, 9)).done == 9


def test_merging_leaves_the_other_as_it_is() -> None:
    one, other = added(ScoreAccumulator(PLAN), (0, 5)), added(ScoreAccumulator(PLAN), (5, 9))
    before = other.to_bytes()
    one.merge(other)
    added(one, (9, 20))
    assert other.to_bytes() == before


def test_without_classes_there_are_two_cells() -> None:
    sums = ScoreAccumulator(PLAN)
    sums.update(0, [None] * EXAMPLES, VALUES.items())
    assert len(sums.counts) == 2
    assert len(sums.moments) == 2 * len(KEYS)
    assert sums.classes == {}


def test_what_is_not_there_is_named() -> None:
    sums = added(ScoreAccumulator(PLAN), (0, 20))
    with pytest.raises(UnknownName, match=r"no class in these sums 'z'.*Known here: \., /, a, b, c"):
        sums.finish(labels=["z"])
    with pytest.raises(ModelShapleyError, match="none of 0 examples is in the sums"):
        ScoreAccumulator(PLAN).finish()
    with pytest.raises(ModelShapleyError, match=r"none of 1 examples is in half \d; score at least 2"):
        added(ScoreAccumulator(PLAN), (0, 1)).finish(half=1 - half_of(0))


def test_what_is_no_checkpoint_is_not_taken_for_one() -> None:
    with pytest.raises(ModelShapleyError, match="not the sums of a run"):
        ScoreAccumulator.from_bytes(b"nonsense")
    for unusable in (None, b"nonsense", added(ScoreAccumulator({**PLAN, "seed": 1}), (0, 5)).to_bytes()):
        assert ScoreAccumulator.resume(unusable, PLAN).done == 0
    assert ScoreAccumulator.resume(ScoreAccumulator(PLAN).to_bytes(), PLAN) == ScoreAccumulator(PLAN)


@pytest.mark.parametrize("period", [1, 2, 3, 4, 10])
def test_halves_are_even_and_do_not_follow_a_stratified_order(period: int) -> None:
    for start in range(period):
        of_a_class = [half_of(place) for place in range(start, 400, period)]
        assert 0.3 < sum(of_a_class) / len(of_a_class) < 0.7
    assert all(half_of(place) != half_of(place + 1) for place in range(0, 400, 2))
