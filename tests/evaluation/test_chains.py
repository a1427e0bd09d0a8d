"""Where a trial cannot start in the middle it does not, and whatever happens nothing stays on the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from modelshapley import load_task
from modelshapley.evaluation.trials import all_answers, answers
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import tiny
from tests.support.trialling import DEEP, NOTHING, Told, equal, states_of, untouched

# -- no trace, and nothing wrong ----------------------------------------------------------------


def test_nothing_stays_after_errors_and_abandoned_trials() -> None:
    loaded = tiny(DEEP)
    task = Told(loaded)
    states = states_of(loaded, task)
    before = copy.deepcopy(loaded.model.state_dict())
    all_answers(loaded, task, NOTHING, states=states)
    off = Deactivation.of({UnitKind.HEAD: [(4, 0)]})
    walk = answers(loaded, task, off, states=states)
    next(walk)
    assert untouched(loaded)
    walk.close()
    fails = loaded.model.get_submodule(loaded.anatomy.layers[5].block).register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        all_answers(loaded, task, off, states=states)
    fails.remove()
    assert untouched(loaded)
    equal(loaded, task, off, states)
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())


class Writes(Told):
    """Says that it takes one pass, and takes another one where the first goes wrong."""

    def correct(self, loaded: LoadedModel, examples: Sequence[Any]) -> Tensor:
        logits, _ = self._logits(loaded, examples)
        intact = self.intact.setdefault(tuple(id(e) for e in examples), logits)
        if not torch.allclose(logits, intact):
            return super().correct(loaded, [(inputs.flip(0), label) for inputs, label in examples])
        return torch.ones(len(examples), dtype=torch.bool)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.intact: dict[Any, Tensor] = {}


def test_answers_that_take_several_passes_are_computed_in_full() -> None:
    loaded = tiny(DEEP)
    off = Deactivation.of({UnitKind.LAYER: [(6,)]})
    task = Writes(loaded)
    states = states_of(loaded, task)
    all_answers(loaded, task, NOTHING, states=states)
    assert states.refused is None, "the intact model's answers take one pass each"
    assert states.bytes
    wanted = all_answers(loaded, task, off)
    assert not wanted.all()
    assert (all_answers(loaded, task, off, states=states) == wanted).all()
    assert states.refused
    assert states.bytes == 0
    task.single_pass = False
    assert "several" in str(states_of(loaded, task).refused)


def test_generation_does_not_promise_a_single_pass() -> None:
    assert not load_task("gsm8k").single_pass
    assert load_task("digits").single_pass
    assert load_task("world-capitals").single_pass


def test_other_inputs_in_the_same_place_are_noticed() -> None:
    loaded = tiny(DEEP)
    task = Told(loaded)
    states = states_of(loaded, task)
    all_answers(loaded, task, NOTHING, states=states)
    task._data[Split.TEST] = task._data[Split.TEST][::-1]
    equal(loaded, task, Deactivation.of({UnitKind.HEAD: [(5, 0)]}), states)
    assert "other inputs" in str(states.refused)


@pytest.mark.parametrize(("leaves", "reads"), [(0, 1), (0, 3), (2, 3), (1, 4), (4, 5), (0, 6), (5, 6)])
def test_a_layer_that_remembers_what_another_one_computed_is_noticed(leaves: int, reads: int) -> None:
    """A layer leaves something beside what it hands on, and a later layer reads it."""
    loaded = tiny(DEEP)
    layers = loaded.model.model.layers
    left: dict[str, Tensor] = {}
    layers[leaves].mlp.register_forward_hook(lambda _, __, output: left.update(x=output[:, :1].clone()))
    layers[reads].mlp.register_forward_hook(lambda _, __, output: output + left["x"])
    task = Told(loaded)
    states = states_of(loaded, task)
    assert "alone" in str(states.refused)
    off = Deactivation.of({UnitKind.HEAD: [(6, 0)]})
    assert (all_answers(loaded, task, off, states=states) == all_answers(loaded, task, off)).all()


def test_a_head_that_reads_what_a_layer_left_is_noticed() -> None:
    loaded = tiny(DEEP)
    left: dict[str, Tensor] = {}
    loaded.model.model.layers[2].register_forward_hook(lambda _, __, output: left.update(x=output))
    loaded.model.model.norm.register_forward_pre_hook(lambda _, args: (args[0] + left["x"],))
    assert states_of(loaded, Told(loaded)).refused


def test_a_model_that_reads_hidden_states_between_its_layers_is_noticed() -> None:
    loaded = tiny(DEEP)
    loaded.model.model.layers[3].register_forward_hook(lambda _, __, output: output * 1.5)
    task = Told(loaded)
    states = states_of(loaded, task)
    equal_off = Deactivation.of({UnitKind.HEAD: [(5, 0)]})
    all_answers(loaded, task, NOTHING, states=states)
    assert (all_answers(loaded, task, equal_off, states=states) == all_answers(loaded, task, equal_off)).all()
    assert states.refused
