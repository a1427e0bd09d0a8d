"""Regression on random ablations, against least squares by hand and over all ablations of a real model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modelshapley.errors import BadParameter
from modelshapley.evaluation.game import Game
from modelshapley.methods import load_method
from modelshapley.methods.base import Batch, BatchPosition, Moments, Reading, Utility
from modelshapley.methods.cost import Cost, cost_of
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import Signals
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind
from tests.support.toys import LLAMA, VIT, ToyTask, tiny

EXAMPLES, LAYERS, WIDTH = 24, 3, 4
MISSING = (1, 3)  # a place without a unit


class Game12(Batch):
    """A game of eleven units on a table of twelve places, which remembers what it was asked."""

    def __init__(self, interaction: float) -> None:
        self.position = BatchPosition(0, EXAMPLES, EXAMPLES, 0, 0)
        self.shape = (LAYERS, WIDTH)
        self.is_unit = np.ones(self.shape, bool)
        self.is_unit[MISSING] = False
        rng = np.random.default_rng(5)
        self.worths = rng.normal(size=(EXAMPLES, LAYERS, WIDTH))
        self.interaction = interaction
        self.asked: list[np.ndarray] = []

    def intact_signals(self) -> Signals:
        raise AssertionError("no backward pass is needed")

    def signals_at(self, gates: Tensor) -> Signals:
        raise AssertionError("no backward pass is needed")

    def utility(self, gates: Tensor, rows: Sequence[int], what: Utility) -> Tensor:
        assert set(gates.unique().tolist()) <= {0.0, 1.0}
        self.asked.append(gates.numpy().copy())
        return torch.from_numpy(self.values(gates.double().numpy()))

    def values(self, gates: np.ndarray) -> np.ndarray:
        off = 1 - gates
        values: np.ndarray = -(off * self.worths).sum((1, 2)) + self.interaction * off[:, 0, 0] * off[:, 2, 1]
        return values


def read(game: Game12, spec: str) -> tuple[np.ndarray, np.ndarray]:
    method = load_method(spec)
    moments = {name: Moments.of(values) for name, values in method.statistics(game).items()}
    reading = Reading(UnitKind.HEAD, game.shape, EXAMPLES, np.random.default_rng(0), lambda: np.ones(1), lambda _: [])
    return method.read(moments, reading)


def test_it_is_least_squares_over_the_ablations_of_all_examples() -> None:
    game = Game12(3.0)
    scores, errors = read(game, "ablation-regression,passes=40,off=0.3")
    assert len(game.asked) == 40
    assert (game.asked[0] == 1).all()
    rows, lost = [], []
    for gates in game.asked[1:]:
        absent = 1 - gates
        assert (absent.sum((1, 2)) == 3).all()
        assert not absent[:, *MISSING].any()
        rows.append(absent.reshape(EXAMPLES, -1))
        lost.append(game.values(np.ones_like(gates)) - game.values(gates))
    matrix = np.delete(np.concatenate(rows), MISSING[0] * WIDTH + MISSING[1], axis=1)
    expected, *_ = np.linalg.lstsq(matrix, np.concatenate(lost), rcond=None)
    found = scores[game.is_unit]
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert np.abs(expected - game.worths.mean(0)[game.is_unit]).max() > 0.05  # the interaction is shared out
    assert matrix.sum(0).min() > 0.9 * matrix.sum(0).max()  # all are off about equally often
    assert np.isfinite(errors).all()


def test_worths_that_add_up_are_found_and_errors_are_those_of_other_examples() -> None:
    """Of additive games that differ between examples, the spread of the estimates over many draws of examples."""
    found, told = [], []
    for draw in range(40):
        game = Game12(0.0)
        game.worths = np.random.default_rng(draw).normal(1.0, 2.0, size=game.worths.shape)
        scores, errors = read(game, "ablation-regression,passes=34,off=0.3")
        found.append(scores[game.is_unit])
        told.append(errors[game.is_unit])
    values, spread = np.mean(found, 0), np.std(found, axis=0, ddof=1)
    np.testing.assert_allclose(values, 1.0, atol=0.25)
    assert 0.75 < np.mean(told) / spread.mean() < 1.35


@pytest.mark.parametrize(
    ("kind", "config"), [(UnitKind.HEAD, VIT), pytest.param(UnitKind.LAYER, LLAMA, marks=pytest.mark.slow)]
)
def test_many_ablations_reach_the_regression_over_all_of_a_real_model(kind: UnitKind, config: Any) -> None:
    loaded = tiny(config)
    task = ToyTask(loaded)
    game = Game(loaded, task, kind, task.examples(Split.PROBE))
    spec = "ablation-regression,passes=1000,off=0.34,utility=loss"
    (found,) = score(Scoring(loaded, task, [load_method(spec)], [kind], 100)).values()
    number = max(1, round(0.34 * game.players))
    sets = list(combinations(range(game.players), number))
    absent = np.array([[player in chosen for player in range(game.players)] for chosen in sets])
    whole = game.value(np.ones(game.players, bool))
    lost = np.array([whole - game.value(~off) for off in absent])
    expected, *_ = np.linalg.lstsq(absent.astype(float), lost, rcond=None)
    scores = found.scores[kind].reshape(-1)
    assert np.abs(scores - expected).max() < 0.1 * np.abs(expected).max()
    assert found.signed
    assert found.standard_errors[kind].min() > 0


def test_its_cost_and_its_limits() -> None:
    counts = {UnitKind.HEAD: 16, UnitKind.LAYER: 4}
    assert cost_of(["ablation-regression,passes=20", "two-sided"], counts) == Cost(1, 40)
    loaded = tiny(type(LLAMA)(**{**LLAMA.to_diff_dict(), "intermediate_size": 300}))
    job = Scoring(loaded, ToyTask(loaded), [load_method("ablation-regression")], [UnitKind.NEURON], 2)
    with pytest.raises(BadParameter, match="900 neurons"):
        score(job)
