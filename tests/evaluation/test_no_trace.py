"""A thousand trials, some of them broken off anywhere, leave the model as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from modelshapley import load_task
from modelshapley.evaluation.activations import activations_of
from modelshapley.evaluation.trials import all_answers, answers
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, Treatment
from tests.support.trialling import NOTHING, some_off, states_of, untouched

TRIALS = 1000
HOW: tuple[Callable[[np.random.Generator], Treatment], ...] = (
    lambda _: Treatment(),
    lambda rng: Treatment("scale", float(rng.uniform(0, 2))),
    lambda _: Treatment("mean"),
    lambda rng: Treatment("offset", float(rng.uniform(-10, 10))),
)


class Broken(Exception):
    """Not of the library's own."""


class BreaksOff(TorchFunctionMode):
    """Raises at some operation of torch, be it the model's, a hook's or the task's."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left == 0:
            raise Broken
        return func(*args, **(kwargs or {}))


def digest(loaded: LoadedModel) -> str:
    """Of every weight and buffer, those too that are not saved."""
    found = hashlib.sha256()
    for name, tensor in (*loaded.model.named_parameters(), *loaded.model.named_buffers()):
        found.update(name.encode() + tensor.detach().numpy().tobytes())
    return found.hexdigest()


@pytest.mark.slow  # a thousand trials
def test_a_thousand_trials_leave_no_trace(digits_vit: LoadedModel) -> None:
    task, rng = load_task("digits"), np.random.default_rng(11)
    chosen = task.select(digits_vit, Split.TEST)[:15]
    activations = activations_of(digits_vit, task)
    task = type(task)()
    task.select = lambda *_, **__: chosen  # type: ignore[method-assign]
    task.test_chunk = 5
    weights, intact = digest(digits_vit), all_answers(digits_vit, task, NOTHING)
    states, broken, given_up, changed = states_of(digits_vit, task), 0, 0, 0
    all_answers(digits_vit, task, NOTHING, states=states)
    for _ in range(TRIALS):
        off = Deactivation(some_off(digits_vit, rng, int(rng.integers(4))).units, HOW[rng.integers(len(HOW))](rng))
        kept = states if rng.random() < 0.5 else None
        trial = answers(digits_vit, task, off, states=kept, activations=activations)
        fate = rng.random()
        if fate < 0.2:
            try:
                with BreaksOff(int(rng.integers(1, 200))):
                    list(trial)
            except Broken:
                broken += 1
        elif fate < 0.4:
            next(trial)
            trial.close()
            given_up += 1
        else:
            *_, (found, _total) = trial
            changed += bool((found != intact).any())
        assert untouched(digits_vit)
    assert broken > 50
    assert given_up > 50
    assert changed > 20
    assert states.refused is None
    assert digest(digits_vit) == weights
    assert (all_answers(digits_vit, task, NOTHING) == intact).all()
    assert (all_answers(digits_vit, task, NOTHING, states=states) == intact).all()
    with torch.inference_mode():
        assert not digits_vit.model.training
