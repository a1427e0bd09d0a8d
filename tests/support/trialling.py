"""What tests of trials share: a task that tells its logits, random deactivations, what was computed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelshapley.evaluation.activations import Activations
from modelshapley.evaluation.hidden_states import HiddenStateCache, refusal
from modelshapley.evaluation.trials import all_answers
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import LLAMA, ToyTask

DEEP = copy.deepcopy(LLAMA)
DEEP.num_hidden_layers = 7
DEEP.layer_types = None
NOTHING = Deactivation()
PLENTY = 2**30


class Told(ToyTask):
    """Tells the logits that it answers by."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logits: list[Tensor] = []

    def _logits(self, loaded: LoadedModel, examples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        logits, labels = super()._logits(loaded, examples)
        self.logits.append(logits)
        return logits, labels


def states_of(loaded: LoadedModel, task: Any, budget: int = PLENTY) -> HiddenStateCache:
    examples = task.select(loaded, Split.TEST)
    return HiddenStateCache(len(examples), budget, refusal(loaded, task, examples))


def some_off(loaded: LoadedModel, rng: np.random.Generator, lowest: int = 0) -> Deactivation:
    """A few units of random kinds in random layers."""
    off: dict[UnitKind, list[tuple[int, ...]]] = {}
    shapes = loaded.anatomy.shapes
    for _ in range(rng.integers(1, 5)):
        kind = shapes.kinds[rng.integers(len(shapes.kinds))]
        there = [u for u in np.argwhere(shapes.is_unit(kind)).tolist() if u[0] >= lowest]
        if there:
            off.setdefault(kind, []).append(tuple(there[rng.integers(len(there))]))
    return Deactivation.of(off)


def measured(
    loaded: LoadedModel,
    task: Told,
    off: Deactivation,
    states: HiddenStateCache | None = None,
    zeroed: bool = False,
    activations: Activations | None = None,
) -> tuple[np.ndarray, Tensor]:
    task.logits.clear()
    with zeroed_weights(loaded.model, loaded.anatomy, off) if zeroed else nullcontext():
        found = all_answers(loaded, task, NOTHING if zeroed else off, states=states, activations=activations)
    return found, torch.cat(task.logits)


def equal(loaded: LoadedModel, task: Told, off: Deactivation, states: HiddenStateCache) -> None:
    outcomes, logits = measured(loaded, task, off, states)
    wanted, truth = measured(loaded, task, off, zeroed=True)
    assert (outcomes == wanted).all(), off.describe()
    torch.testing.assert_close(logits, truth, atol=1e-4, rtol=0)


def untouched(loaded: LoadedModel) -> bool:
    return not any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in loaded.model.modules())


class Calls:
    """How often each layer was computed."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.of = [0] * loaded.anatomy.shapes.layers
        self.handles = [
            loaded.model.get_submodule(layer.attentions[0].output).register_forward_hook(self._count(number))
            for number, layer in enumerate(loaded.anatomy.layers)
        ]

    def _count(self, number: int) -> Any:
        def count(*_: Any) -> None:
            self.of[number] += 1

        return count

    def taken(self) -> list[int]:
        found, self.of = self.of, [0] * len(self.of)
        return found
