"""Two-sided scores with masks: the mean that they say they are, and what they see that the intact model does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modelshapley.methods import load_method
from modelshapley.methods.base import Batch, BatchPosition, Moments, Reading, Utility
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import Signals
from modelshapley.units import UnitKind
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny

EXAMPLES = 40


class TwinBatch(Batch):
    """Units 0 and 1 do the same, and one of them is enough; unit 2 helps a little; unit 3 does nothing."""

    def __init__(self) -> None:
        self.position = BatchPosition(0, EXAMPLES, EXAMPLES, 0, 0)
        self.shape = (1, 4)
        self.is_unit = np.ones(self.shape, bool)

    def intact_signals(self) -> Signals:
        return self.signals_at(torch.ones(EXAMPLES, 1, 4))

    def signals_at(self, gates: Tensor) -> Signals:
        gates = gates.double().requires_grad_()
        losses = (1 - gates[:, 0, 0] - gates[:, 0, 1]).clamp(min=-1e-9) - 0.05 * gates[:, 0, 2]
        losses.sum().backward()
        assert gates.grad is not None
        return Signals(gates.grad, gates.grad, gates.grad, gates.grad)

    def utility(self, gates: Tensor, rows: Sequence[int], what: Utility) -> Tensor:
        raise AssertionError("no forward pass is needed")


def read(spec: str) -> np.ndarray:
    method = load_method(spec)
    moments = {name: Moments.of(values) for name, values in method.statistics(TwinBatch()).items()}
    reading = Reading(UnitKind.HEAD, (1, 4), EXAMPLES, np.random.default_rng(0), lambda: np.ones(1), lambda _: [])
    scores: np.ndarray = method.read(moments, reading)[0][0]
    return scores


def test_units_that_stand_in_for_each_other_are_seen_only_with_masks() -> None:
    intact, masked = read("two-sided"), read("masked-two-sided,masks=4,keep=0.5")
    assert intact[0] < intact[2]  # so the twins would both be removed before unit 2
    assert masked[0] > 2 * masked[2] > 0
    assert masked[3] == 0


@pytest.mark.parametrize("config", [VIT, LLAMA, CONFIGS["swin"]])
def test_it_is_the_mean_of_the_readings_of_the_intact_model_and_its_masks(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tiny(config)
    seen: list[tuple[np.ndarray | None, np.ndarray]] = []
    real = Scoring.signals

    def watched(self: Scoring, batch: Any, kinds: Any, parts: Any, gates: Any = None) -> Any:
        found = real(self, batch, kinds, parts, gates)
        seen.append((None if gates is None else gates[kind].numpy(), found[kind].gate.double().numpy()))
        return found

    monkeypatch.setattr(Scoring, "signals", watched)
    kind = UnitKind.NEURON
    task = ToyTask(loaded)
    task.probe_batch = 13
    (found,) = score(Scoring(loaded, task, [load_method("masked-two-sided,masks=2,keep=0.7")], [kind], 100)).values()
    (intact, c0), (first, c1), (second, c2) = seen
    assert intact is None
    assert first is not None
    assert second is not None
    assert set(np.unique(first)) == {0.0, 1.0}
    assert first.mean() == pytest.approx(0.7, abs=0.08)
    assert np.maximum(first, second).mean() == pytest.approx(1.0)  # antithetic: no unit is off in both
    assert not np.array_equal(first[0], first[1])
    readings = []
    for c in (c0, c1, c2):
        phi = -c + c**2 / 2
        readings.append(1.5 * np.maximum(phi, 0).mean(0) + 0.5 * np.maximum(-phi, 0).mean(0))
    expected = np.mean(readings, axis=0).reshape(found.scores[kind].shape)
    is_unit = loaded.anatomy.shapes.is_unit(kind)
    np.testing.assert_allclose(found.scores[kind][is_unit], expected[is_unit], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("spec", ["masked-two-sided,masks=0", "masked-two-sided,keep=1"])
def test_without_masks_it_is_two_sided(spec: str) -> None:
    loaded = tiny(VIT)
    specs = ["two-sided", spec]
    maps = list(score(Scoring(loaded, ToyTask(loaded), [load_method(s) for s in specs], [UnitKind.HEAD], 100)).values())
    np.testing.assert_allclose(maps[1].scores[UnitKind.HEAD], maps[0].scores[UnitKind.HEAD], rtol=1e-5)
    again = maps[1].with_harm(None)
    np.testing.assert_allclose(again.scores[UnitKind.HEAD], maps[0].with_harm(None).scores[UnitKind.HEAD], rtol=1e-5)
