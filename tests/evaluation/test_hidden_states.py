"""Trials that start at the first touched layer give what full evaluations with zeroed weights give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.settings import Settings
from modelshapley import load_task
from modelshapley.evaluation.hidden_states import logits_of
from modelshapley.evaluation.trials import all_answers, answers
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.catalog import DIGITS_VIT, Catalog
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.models.test_devices import forwards, hooked
from tests.support.toys import CONFIGS, tiny
from tests.support.trialling import DEEP, NOTHING, Calls, Told, equal, measured, some_off, states_of, untouched
from workers.warm.models import Warm
from workers.warm.states import WarmStates

NO_CHAIN = {"t5", "t5 with gates", "mt5", "bart", "swin"}


# -- the same figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in NO_CHAIN])
def test_trials_from_kept_states_equal_zeroed_weights(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    task, rng = Told(loaded), np.random.default_rng(5)
    states = states_of(loaded, task)
    assert states.refused is None
    all_answers(loaded, task, NOTHING, states=states)
    assert states.bytes > 0
    for number in range(12):
        equal(loaded, task, some_off(loaded, rng, number % loaded.anatomy.shapes.layers), states)
    assert states.refused is None
    assert untouched(loaded)


@pytest.mark.parametrize("name", sorted(NO_CHAIN))
def test_models_that_are_no_chain_are_computed_in_full(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    task, rng = Told(loaded), np.random.default_rng(5)
    states = states_of(loaded, task)
    assert states.refused
    for _ in range(4):
        equal(loaded, task, some_off(loaded, rng), states)
    assert states.bytes == 0
    assert untouched(loaded)


def test_the_digits_vit(digits_vit: LoadedModel) -> None:
    task, rng = load_task("digits"), np.random.default_rng(7)
    real(digits_vit, task, [some_off(digits_vit, rng, number % 4) for number in range(20)])


@pytest.mark.slow
def test_smollm2(smollm2: LoadedModel) -> None:
    task = load_task("world-capitals")
    chosen = task.select(smollm2, Split.TEST)[:8]
    task.select = lambda *_: chosen  # type: ignore[method-assign]
    rng = np.random.default_rng(7)
    real(smollm2, task, [some_off(smollm2, rng, lowest) for lowest in (3, 15, 26, 29)])


def real(loaded: LoadedModel, task: Any, offs: Sequence[Deactivation]) -> None:
    """The same predictions, and logits within 1e-4, on a model that has learnt something."""
    states = states_of(loaded, task)
    assert states.refused is None
    all_answers(loaded, task, NOTHING, states=states)
    for off in offs:
        with logits_of(loaded) as here:
            found = all_answers(loaded, task, off, states=states)
        with logits_of(loaded) as there, zeroed_weights(loaded.model, loaded.anatomy, off):
            wanted = all_answers(loaded, task, NOTHING)
        assert (found == wanted).all(), off.describe()
        for one, other in zip(here, there, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    assert states.refused is None
    assert untouched(loaded)


def test_only_layers_from_the_first_touched_one_on_are_computed() -> None:
    loaded = tiny(DEEP)
    task = Told(loaded)
    states = states_of(loaded, task)
    calls = Calls(loaded)
    all_answers(loaded, task, NOTHING, states=states)
    chunks = -(-30 // task.test_chunk)
    assert calls.taken() == [chunks] * 7
    for first in range(7):
        all_answers(loaded, task, Deactivation.of({UnitKind.HEAD: [(first, 0), (6, 1)]}), states=states)
        assert calls.taken() == [0] * first + [chunks] * (7 - first)


def test_a_trial_keeps_what_no_pass_before_it_kept_and_no_more() -> None:
    """After an eviction, say: below the first touched layer a trial's own states are the intact ones."""
    loaded = tiny(DEEP)
    task = Told(loaded)
    states = states_of(loaded, task)
    calls = Calls(loaded)
    chunks = -(-30 // task.test_chunk)
    for first, start in ((3, 0), (5, 3), (6, 5), (4, 4), (0, 0), (6, 6)):
        off = Deactivation.of({UnitKind.NEURON: [(first, 3), (first, 7)], UnitKind.LAYER: [(6,)]})
        found, logits = measured(loaded, task, off, states)
        assert calls.taken() == [0] * start + [chunks] * (7 - start)
        wanted, truth = measured(loaded, task, off, zeroed=True)
        calls.taken()
        assert (found == wanted).all()
        torch.testing.assert_close(logits, truth, atol=1e-4, rtol=0)


# -- memory -------------------------------------------------------------------------------------


def test_the_budget_holds_and_every_kth_boundary_is_kept_where_it_is_short() -> None:
    loaded = tiny(DEEP)
    task, rng = Told(loaded), np.random.default_rng(2)
    one = 30 * 6 * 24 * 4  # bytes of a boundary: examples, tokens, channels, float32
    calls = Calls(loaded)
    for budget, start_of_5 in ((0, 0), (one - 1, 0), (one, 4), (2 * one, 3), (3 * one, 4), (6 * one, 5)):
        states = states_of(loaded, task, budget)
        all_answers(loaded, task, NOTHING, states=states)
        assert states.bytes <= states.reserved <= budget
        calls.taken()
        equal_off = Deactivation.of({UnitKind.LAYER: [(5,)]})
        all_answers(loaded, task, equal_off, states=states)
        if budget % one == 0:
            assert calls.taken()[:5] == [0] * start_of_5 + [5] * (5 - start_of_5)
        for _ in range(6):
            equal(loaded, task, some_off(loaded, rng), states)
        assert states.bytes <= budget


def kept(warm: WarmStates) -> int:
    return sum(probes.bytes for probes in warm.snapshot())


def test_models_and_tasks_share_a_budget_and_the_least_recently_used_gives_way() -> None:
    loaded = tiny(DEEP)
    tasks = [Told(loaded, probe=probe) for probe in (3, 4, 5)]
    one = 6 * 30 * 6 * 24 * 4
    warm = WarmStates(2 * one + 100)
    found = [warm.of(loaded, task, 0) for task in tasks[:2]]
    for task, states in zip(tasks, found, strict=False):
        all_answers(loaded, task, NOTHING, states=states)
    assert [states.bytes for states in found] == [one, one]
    assert warm.of(loaded, tasks[0], 0) is found[0]
    last = warm.of(loaded, tasks[2], 0)
    all_answers(loaded, tasks[2], NOTHING, states=last)
    assert [states.bytes for states in (*found, last)] == [one, 0, one]
    equal(loaded, tasks[1], Deactivation.of({UnitKind.HEAD: [(4, 1)]}), warm.of(loaded, tasks[1], 0))
    assert 0 < kept(warm) <= 2 * one + 100
    assert warm.of(loaded, tasks[0], 1) is not warm.of(loaded, tasks[0], 0)
    warm.forget(loaded.id)
    assert kept(warm) == 0
    assert WarmStates(0).of(loaded, tasks[0], 0).refused


class Short(Told):
    """Has room for so many examples at a time."""

    room = 7

    def correct(self, loaded: LoadedModel, examples: Sequence[Any]) -> Tensor:
        found = super().correct(loaded, examples)
        if len(examples) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory, said the test")
        return found


@pytest.mark.parametrize(("intact", "trial"), [(7, 2), (2, 7), (3, 3), (7, 7)])
def test_chunks_that_do_not_fit_are_halved_all_the_same(intact: int, trial: int) -> None:
    loaded = tiny(DEEP)
    task, off = Short(loaded), Deactivation.of({UnitKind.HEAD: [(5, 0), (6, 1)]})
    wanted = all_answers(loaded, Told(loaded), off)
    states = states_of(loaded, task)
    task.room = intact
    all_answers(loaded, task, NOTHING, states=states)
    held = states.bytes
    task.room = trial
    for _ in range(3):
        assert (all_answers(loaded, task, off, states=states) == wanted).all()
    assert 0 < states.bytes <= held
    task.room, calls = 7, Calls(loaded)
    assert (all_answers(loaded, task, off, states=states) == wanted).all()
    assert sum(calls.taken()[:5]) == 0, "groups are those of before, however much room there is now"


class Ragged(Short):
    """Examples of several sizes: several passes a chunk, in an order of their own."""

    pass_tokens = 9

    def size(self, loaded: LoadedModel, example: Any) -> int:
        return 1 + int(example[1]) % 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_whatever_comes_together(seed: int) -> None:
    """Sizes, budgets, shortages, tasks that push each other out, trials that are given up: the figures stay."""
    loaded, rng = tiny(DEEP), np.random.default_rng(seed)
    tasks = [Ragged(loaded, probe=probe) for probe in (3, 4, 5)]
    one = 30 * 6 * 24 * 4
    warm = WarmStates(int(rng.integers(1, 14 * one)))
    for _ in range(25):
        task = tasks[rng.integers(len(tasks))]
        states, off = warm.of(loaded, task, 0), some_off(loaded, rng, int(rng.integers(7)))
        task.room = int(rng.choice([7, 7, 7, 3, 1]))
        if rng.random() < 0.2:
            next(answers(loaded, task, off, states=states))
        found = all_answers(loaded, task, off, states=states)
        task.room = 7
        assert (found == all_answers(loaded, task, off)).all()
        assert kept(warm) <= warm.budget
        assert states.refused is None
    assert kept(warm)
    assert untouched(loaded)


# -- in a worker --------------------------------------------------------------------------------


def test_a_worker_keeps_states_with_the_intact_answers(digits_vit: LoadedModel, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    assert settings.trial_memory_bytes == 2 * 2**30
    warm = Warm(Catalog(tmp_path), "cpu", trial_memory=settings.trial_memory_bytes)
    loaded, task = warm.model(DIGITS_VIT), load_task("digits")
    intact = warm.intact(loaded, task, 0)
    states, calls = warm.states(loaded, task, 0), Calls(loaded)
    assert states.bytes > 10**6
    off = Deactivation.of({UnitKind.HEAD: [(3, 1)]})
    found = all_answers(loaded, task, off, states=states)
    assert calls.taken() == [0, 0, 0, 6]
    assert (found == all_answers(digits_vit, task, off)).all()
    assert (intact == all_answers(digits_vit, task, NOTHING)).all()
    warm._unload(loaded.id)
    assert warm.states(loaded, task, 0).bytes == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    loaded = tiny(DEEP)
    loaded.model.to(dtype)
    task, rng = Told(loaded), np.random.default_rng(1)
    states = states_of(loaded, task)
    all_answers(loaded, task, NOTHING, states=states)
    for lowest in range(7):
        off = some_off(loaded, rng, lowest)
        found, logits = measured(loaded, task, off, states)
        wanted, truth = measured(loaded, task, off)
        assert (found == wanted).all()
        assert torch.equal(logits, truth)
    assert states.refused is None


def test_accelerates_hooks_stay_where_they_were() -> None:
    plain, loaded = tiny(CONFIGS["llama"]), hooked("llama")
    before, task = forwards(loaded), Told(loaded)
    states = states_of(loaded, task)
    all_answers(loaded, task, NOTHING, states=states)
    off = Deactivation.of({UnitKind.HEAD: [(2, 1)]})
    found = all_answers(loaded, task, off, states=states)
    assert states.refused is None
    assert forwards(loaded) == before
    assert (found == all_answers(plain, task, off)).all()
