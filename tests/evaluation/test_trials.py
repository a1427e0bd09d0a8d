"""Trials go on from what is known, stop where that is enough, and start in the middle for shared prompts too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelshapley.contracts import Comparison
from modelshapley.evaluation.hidden_states import logits_of
from modelshapley.evaluation.intervals import half_width, mean_interval, precise_enough
from modelshapley.evaluation.trials import all_answers, answers, compare
from modelshapley.interventions.weights import scaled_weights, zeroed_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation, Treatment, UnitKind
from tests.support.task_data import TEXTS, jsonl, model, task, tokenizer
from tests.support.toys import CONFIGS, ToyTask, tiny
from tests.support.trialling import DEEP, NOTHING, Calls, Told, some_off, states_of, untouched

OFF = Deactivation.of({UnitKind.HEAD: [(2, 1), (5, 0)]})


# -- what is known already -----------------------------------------------------------------------


@pytest.mark.parametrize("known", [0, 7, 9, 29])
@pytest.mark.parametrize("kept", [False, True])
def test_a_trial_goes_on_behind_known_answers(known: int, kept: bool) -> None:
    loaded = tiny(DEEP)
    toy = Told(loaded)
    whole = all_answers(loaded, toy, OFF)
    states = states_of(loaded, toy) if kept else None
    if kept:
        all_answers(loaded, toy, NOTHING, states=states)
    # Known answers are taken as they are: turned round they would be told from measured ones.
    before = ~whole[:known]
    toy.logits.clear()
    yielded = list(answers(loaded, toy, OFF, states=states, known_answers=before))
    sizes = [min(known + 7 * (i + 1), 30) for i in range(-(-(30 - known) // 7))]
    assert [len(found) for found, _ in yielded] == sizes
    assert {total for _, total in yielded} == {30}
    for found, _ in yielded:
        assert (found == np.concatenate([before, whole[known:]])[: len(found)]).all()
    assert sum(len(logits) for logits in toy.logits) == 30 - known


@pytest.mark.parametrize("known", [30, 40])
def test_where_all_is_known_it_is_told_and_nothing_measured(known: int) -> None:
    loaded = tiny(DEEP)
    toy, before = Told(loaded), np.arange(known) % 3 == 0
    ((found, total),) = answers(loaded, toy, OFF, known_answers=before)
    assert (found == before[:30]).all()
    assert total == 30
    assert not toy.logits


def test_a_trial_given_up_and_gone_on_with_is_the_same_trial() -> None:
    loaded = tiny(DEEP)
    toy, found = ToyTask(loaded), np.zeros(0, dtype=bool)
    while len(found) < 30:
        found, _ = next(answers(loaded, toy, OFF, known_answers=found))
    assert (found == all_answers(loaded, toy, OFF)).all()


# -- precise enough ------------------------------------------------------------------------------


def compared(right: int, n: int) -> Comparison:
    now = np.arange(n) < right
    return compare(now, np.ones(n, dtype=bool))


def test_half_the_width_of_an_interval_decides() -> None:
    assert half_width((0.25, 0.75)) == 0.25
    low, high = compared(50, 100).interval
    reach = (high - low) / 2
    assert 0.09 < reach < 0.1  # Wilson's, of one half on a hundred
    assert precise_enough(compared(50, 100), reach)
    assert not precise_enough(compared(50, 100), reach - 1e-9)
    assert precise_enough(compared(400, 400), 0.01)
    assert not precise_enough(compared(4, 4), 0.4)


def test_shares_that_happen_to_be_equal_are_not_precise_yet() -> None:
    few, many = (compare(np.full(n, 0.5), np.full(n, 0.5)) for n in (8, 30))
    assert half_width(few.interval) == 0
    assert not precise_enough(few, 0.05)
    assert precise_enough(many, 0.05)


@pytest.mark.parametrize("accuracy", [0.03, 0.3, 0.5, 0.88, 0.97])
def test_stopping_early_keeps_the_interval_honest(accuracy: float) -> None:
    """The width hangs on the accuracy found, so that stopping by it might favour some; it does not by much."""
    rng, rounds, hits, wanted = np.random.default_rng(0), 400, 0, 0.05
    stopped = []
    for _ in range(rounds):
        outcomes = rng.random(720) < accuracy
        for n in range(60, 721, 60):
            interval = mean_interval(outcomes[:n])
            if half_width(interval) <= wanted:
                break
        stopped.append(n)
        hits += interval[0] <= accuracy <= interval[1]
    assert hits / rounds > 0.92
    assert np.mean(stopped) < 450


# -- shared prompts ------------------------------------------------------------------------------


@pytest.fixture
def choices(tmp_path: Path) -> Any:
    """Questions of several lengths with three to five choices."""
    words = " ".join(TEXTS).split()
    rows = [
        {
            "question": " ".join(words[i % 9 : i % 9 + 4 + i % 5]),
            "options": [" ".join(words[i + j : i + j + 1 + (i + j) % 3]) for j in range(3 + i % 3)],
            "right": i % 3,
        }
        for i in range(24)
    ]
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", rows)
    fields = {"prompt": "{question}", "choices_column": "options", "key": "right", "probe": {"split": "train"}}
    made = task(tmp_path, {"kind": "multiple-choice", "source": {"path": "."}, **fields})
    made.test_chunk = 10
    return made


@pytest.mark.parametrize("config", ["gpt2", "llama", "gemma2", "mixtral"])
def test_shared_prompts_from_kept_states_equal_zeroed_weights(choices: Any, config: str) -> None:
    loaded: LoadedModel = model(CONFIGS[config], tokenizer())
    states, rng, layers = states_of(loaded, choices), np.random.default_rng(3), loaded.anatomy.shapes.layers
    assert states.refused is None
    all_answers(loaded, choices, NOTHING, states=states)
    calls, seen = Calls(loaded), set()
    for number in range(8):
        off = some_off(loaded, rng, number % layers)
        calls.taken()
        with logits_of(loaded) as here:
            found = all_answers(loaded, choices, off, states=states)
        first = off.first_layer
        assert sum(calls.taken()[:first]) == 0
        with zeroed_weights(loaded.model, loaded.anatomy, off), logits_of(loaded) as there:
            wanted = all_answers(loaded, choices, NOTHING)
        assert (found == wanted).all()
        for one, other in zip(here, there, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
        seen.add(wanted.tobytes())
    assert len(seen) > 1, "the answers change with what is off, or they would prove nothing"
    half = Deactivation.of({UnitKind.HEAD: [(1, 2)], UnitKind.ROW: [(1, 30)]}, Treatment("scale", 0.5))
    with scaled_weights(loaded.model, loaded.anatomy, half):
        wanted = all_answers(loaded, choices, NOTHING)
    assert (all_answers(loaded, choices, half, states=states) == wanted).all()
    for handle in calls.handles:
        handle.remove()
    assert untouched(loaded)
