"""Copies of stored states on their device: which stay, how many bytes they take, and that trials are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from modelshapley.evaluation.trials import all_answers
from modelshapley.interventions.stored_states import DeviceTier, StoredState, share_of_free_memory
from modelshapley.models.memory import AdaptiveBatcher
from tests.support.toys import tiny
from tests.support.trialling import DEEP, NOTHING, Told, equal, some_off, states_of

CPU = torch.device("cpu")


def stored(number: float) -> StoredState:
    """A state of 16 bytes."""
    return StoredState(torch.full((4,), number, dtype=torch.float32), CPU)


def tier_of(allowed: int) -> DeviceTier:
    return DeviceTier(lambda device, held: allowed)


def test_what_is_read_may_be_written_into_and_the_next_reading_is_as_before() -> None:
    for allowed in (0, 100):
        tier, state = tier_of(allowed), stored(3)
        for _ in range(3):
            read = tier.read(state)
            assert read.tolist() == [3, 3, 3, 3]
            read.zero_()
        assert tier.bytes == (16 if allowed else 0)


def test_the_most_recently_read_stay_and_the_allowance_is_kept() -> None:
    tier, states = tier_of(40), [stored(number) for number in range(3)]
    tier.read(states[0])
    tier.read(states[1])
    tier.read(states[0])
    tier.read(states[2])
    assert tier.bytes == 32
    for state in states:
        state.host.fill_(-1)  # so that only a copy still has the number
    assert [tier.read(state)[0].item() for state in (states[0], states[2])] == [0, 2]
    assert tier.read(states[1])[0].item() == -1, "its copy had to go"
    assert tier.bytes == 32


def test_a_state_larger_than_the_allowance_sends_no_other_away() -> None:
    tier, small, large = tier_of(40), stored(1), StoredState(torch.zeros(11), CPU)
    tier.read(small)
    assert tier.read(large).tolist() == [0] * 11
    assert tier.bytes == 16


def test_copies_go_with_their_states_or_all_at_once() -> None:
    tier, states = tier_of(100), [stored(1), stored(2)]
    for state in states:
        tier.read(state)
    del state
    states.pop()
    assert tier.bytes == 16
    assert tier.clear()
    assert tier.bytes == 0
    assert not tier.clear()


def test_a_shrinking_allowance_takes_copies_away() -> None:
    room = [64]
    tier = DeviceTier(lambda device, held: room[0])
    states = [stored(number) for number in range(4)]
    for state in states[:3]:
        tier.read(state)
    room[0] = 32
    tier.read(states[3])
    assert tier.bytes == 32


def test_in_host_memory_nothing_is_copied_twice() -> None:
    assert share_of_free_memory(CPU, 0) == 0


@pytest.mark.parametrize("allowed", [5_000, 2**30])
def test_trials_from_copies_equal_zeroed_weights(allowed: int) -> None:
    loaded = replace(tiny(DEEP), device_tier=tier_of(allowed))
    task, rng = Told(loaded), np.random.default_rng(3)
    states = states_of(loaded, task)
    all_answers(loaded, task, NOTHING, states=states)
    assert loaded.device_tier.bytes == 0, "nothing was read yet"
    for number in range(14):
        equal(loaded, task, some_off(loaded, rng, number % 7), states)
        assert loaded.device_tier.bytes <= allowed
    assert states.refused is None
    assert 0 < loaded.device_tier.bytes < states.bytes
    states.clear()
    assert loaded.device_tier.bytes == 0


def test_copies_give_way_before_a_batch_is_halved() -> None:
    loaded = replace(tiny(DEEP), device_tier=tier_of(100))
    state, sizes = stored(1), list[int]()
    loaded.device_tier.read(state)

    def work(size: int) -> int:
        sizes.append(size)
        if loaded.device_tier.bytes or size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    assert AdaptiveBatcher(loaded, 4, backward=False).run(work, 4) == (2, 2)
    assert sizes == [4, 4, 2]
