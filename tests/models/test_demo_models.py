"""The signals of the two demo models, checked by turning real gates a little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from modelshapley import load_task
from modelshapley.interventions.gates import gated
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import observed
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

STEP = 0.05


def loss_slopes(
    loaded: LoadedModel, task: Task[Any], examples: Any, kind: UnitKind, unit: tuple[int, ...]
) -> np.ndarray:
    """Five-point difference of each example's loss in one unit's gate."""
    losses = {}
    for steps in (-2, -1, 1, 2):
        factors = np.ones(loaded.anatomy.shapes.of(kind))
        factors[unit] += steps * STEP
        with torch.no_grad(), gated(loaded.model, loaded.anatomy, {kind: factors}):
            losses[steps] = task.losses(loaded, examples).double().numpy()
    slopes: np.ndarray = (losses[-2] - 8 * losses[-1] + 8 * losses[1] - losses[2]) / (12 * STEP)
    return slopes


@pytest.mark.parametrize("name", ["digits", pytest.param("world-capitals", marks=pytest.mark.slow)])
def test_gate_derivatives_of_the_most_important_units_equal_finite_differences(
    name: str, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue("digits_vit" if name == "digits" else "smollm2")
    task = load_task(name)
    examples = task.examples(Split.PROBE)[:4]
    found = score(Scoring(loaded, task, [load_method("mean-abs")], loaded.anatomy.shapes.kinds, 4))["mean-abs"]
    with observed(loaded.model, loaded.anatomy, loaded.anatomy.shapes.kinds) as observer:
        task.losses(loaded, examples).sum().backward()
        signals = observer.take()
    for kind in loaded.anatomy.shapes.kinds:
        scores = found.scores[kind]
        for flat in np.argsort(-scores.reshape(-1))[:2]:
            unit = tuple(int(i) for i in np.unravel_index(flat, scores.shape))
            slopes = loss_slopes(loaded, task, examples, kind, unit)
            ours = signals[kind].gate.reshape(4, *scores.shape)[(slice(None), *unit)].numpy()
            np.testing.assert_allclose(ours, slopes, atol=2e-3 + 0.02 * np.abs(slopes).max())
            assert np.abs(ours).mean() == pytest.approx(scores[unit], rel=1e-3)
