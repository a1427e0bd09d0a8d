"""One backward pass gives, for each example and unit, the derivative of the loss in the unit's gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from modelshapley.interventions.gates import gated
from modelshapley.models.loaded import LoadedModel
from modelshapley.signals.observe import Signals, observed
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind
from tests.support.toys import KINDS, LLAMA, VIT, ToyTask, tiny


@pytest.fixture(params=[LLAMA, VIT], ids=["llama", "vit"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    loaded = tiny(request.param)
    loaded.model.double()
    return loaded


def task_of(loaded: LoadedModel) -> ToyTask:
    task = ToyTask(loaded)
    if loaded.anatomy.modality == "image":
        for split, rows in task._data.items():
            task._data[split] = [(x.double(), y) for x, y in rows]
    return task


def derivative(loss_at: Callable[[float], torch.Tensor], step: float = 0.02) -> torch.Tensor:
    """Five-point difference; its step is wide because Llama norms round to single precision in any dtype."""
    return (loss_at(-2 * step) - 8 * loss_at(-step) + 8 * loss_at(step) - loss_at(2 * step)) / (12 * step)


def signals_of(loaded: LoadedModel, task: ToyTask, examples: Sequence[Any]) -> Mapping[UnitKind, Signals]:
    with observed(loaded.model, loaded.anatomy, KINDS) as observer:
        task.losses(loaded, examples).sum().backward()
        return dict(observer.take())


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind is UnitKind.ROW)) for kind in KINDS]
)
def test_gate_derivative_equals_a_finite_difference_for_every_unit(loaded: LoadedModel, kind: UnitKind) -> None:
    task = task_of(loaded)
    examples = task.examples(Split.PROBE)[:4]
    shape = loaded.anatomy.shapes.of(kind)
    c = signals_of(loaded, task, examples)[kind].gate.reshape(4, *shape)
    for unit in np.ndindex(shape):

        def loss_at(change: float, unit: tuple[int, ...] = unit) -> torch.Tensor:
            factors = np.ones(shape)
            factors[unit] += change
            with torch.no_grad(), gated(loaded.model, loaded.anatomy, {kind: factors}):
                return task.losses(loaded, examples)

        torch.testing.assert_close(c[(slice(None), *unit)].double(), derivative(loss_at), atol=1e-4, rtol=1e-3)


def test_gate_derivative_equals_weight_times_gradient(loaded: LoadedModel) -> None:
    """c is g . theta over the weights that consume the neuron: the identity that spares weight gradients."""
    task = task_of(loaded)
    examples = task.examples(Split.PROBE)[:1]
    c = signals_of(loaded, task, examples)[UnitKind.NEURON].gate[0]
    for layer in range(loaded.anatomy.shapes.layers):
        weight = loaded.model.get_submodule(loaded.anatomy.layers[layer].mlp.output).weight
        weight.requires_grad_(True)
        task.losses(loaded, examples).sum().backward()
        torch.testing.assert_close(c[layer].double(), (weight * weight.grad).sum(0).detach(), atol=1e-6, rtol=1e-4)
        weight.grad = None
        weight.requires_grad_(False)


def test_offset_derivative_equals_a_finite_difference(loaded: LoadedModel) -> None:
    task = task_of(loaded)
    examples = task.examples(Split.PROBE)[:3]
    offset = signals_of(loaded, task, examples)[UnitKind.NEURON].offset
    module = loaded.model.get_submodule(loaded.anatomy.layers[1].mlp.output)
    for neuron in range(loaded.anatomy.shapes.of(UnitKind.NEURON)[1]):

        def loss_at(change: float, neuron: int = neuron) -> torch.Tensor:
            nudge = torch.zeros(loaded.anatomy.shapes.of(UnitKind.NEURON)[1]).double()
            nudge[neuron] = change
            handle = module.register_forward_pre_hook(lambda _, args: (args[0] + nudge,))
            with torch.no_grad():
                losses = task.losses(loaded, examples)
            handle.remove()
            return losses

        torch.testing.assert_close(offset[:, 1, neuron].double(), derivative(loss_at).abs(), atol=1e-4, rtol=1e-3)


def test_signals_of_a_batch_are_those_of_its_examples(loaded: LoadedModel) -> None:
    task = task_of(loaded)
    examples = task.examples(Split.PROBE)[:5]
    together = signals_of(loaded, task, examples)
    for i, example in enumerate(examples):
        alone = signals_of(loaded, task, [example])
        for kind in KINDS:
            torch.testing.assert_close(together[kind].gate[i], alone[kind].gate[0], atol=1e-7, rtol=1e-4)


def test_weights_get_no_gradient_and_hooks_vanish(loaded: LoadedModel) -> None:
    task = task_of(loaded)
    signals_of(loaded, task, task.examples(Split.PROBE)[:2])
    assert all(parameter.grad is None for parameter in loaded.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loaded.model.modules())


def test_taking_without_a_backward_pass_is_an_error(loaded: LoadedModel) -> None:
    with observed(loaded.model, loaded.anatomy, [UnitKind.HEAD]) as observer, pytest.raises(RuntimeError):
        observer.take()
