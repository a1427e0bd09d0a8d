"""What is said of a map's truth, against switching off for real and against enumeration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from modelshapley.evaluation.faithfulness import PLANS, Bench, Plan, area, efficiency, finish
from modelshapley.evaluation.game import Game
from modelshapley.evaluation.trials import all_answers
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.maps.compare import rank_correlation
from modelshapley.methods import load_method
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind, extreme_units
from tests.methods.test_passes import exact, total
from tests.support.toys import LLAMA, VIT, ToyTask, tiny

PLAN = Plan((0.25, 0.5), (0.25,), tests=20, draws=3, units=100, examples=100, pairs=24)


def bench(config: Any = LLAMA, plan: Plan = PLAN) -> Bench:
    loaded = tiny(config)
    task = ToyTask(loaded)
    task.probe_batch = 13
    return Bench(loaded, task, plan, 0, all_answers(loaded, task, Deactivation()))


@pytest.mark.parametrize("which", ["least", "most"])
def test_a_curve_is_the_accuracy_with_weights_zeroed(which: Any) -> None:
    here = bench()
    scores = np.random.default_rng(0).random((3, 4))
    curve = finish(here.curve(scores, UnitKind.HEAD, which))
    examples = here.task.examples(Split.TEST)[:20]
    assert [point.units for point in curve.points] == ([3, 6] if which == "least" else [3])
    for point in curve.points:
        off = extreme_units(scores, UnitKind.HEAD, which, point.fraction)
        with torch.no_grad(), zeroed_weights(here.loaded.model, here.loaded.anatomy, off):
            zeroed = here.task.correct(here.loaded, examples).numpy()
        assert point.n == 20
        assert point.accuracy == zeroed.mean()
        assert point.difference == pytest.approx(zeroed.mean() - here.intact[:20].mean())
        assert point.interval[0] <= point.accuracy <= point.interval[1]
    assert len({point.accuracy for point in curve.points} | {float(here.intact[:20].mean())}) > 1


def test_random_orders_bracket_their_mean_and_differ() -> None:
    curve = finish(bench().random_curve(UnitKind.HEAD))
    assert curve.draws == 3
    assert all(a <= m <= b for a, m, b in zip(curve.lowest, curve.accuracy, curve.highest, strict=True))
    assert curve.lowest != curve.highest


@pytest.mark.parametrize(("kind", "config"), [(UnitKind.HEAD, VIT), (UnitKind.LAYER, LLAMA)])
def test_sampled_truth_reaches_the_enumerated_values(kind: UnitKind, config: Any) -> None:
    here = bench(config)
    game = Game(here.loaded, here.task, kind, here.task.examples(Split.PROBE))
    truth = finish(here.truth(kind, 100))
    expected = exact(game)
    assert truth.players == len(truth.units) == len(expected)
    assert np.abs(truth.values - expected).max() < 0.25 * np.abs(expected).max()
    assert truth.reliability() > 0.7
    agreement = truth.agreement(expected.reshape(here.loaded.anatomy.shapes.of(kind)))
    assert agreement.rho > 0.9
    assert agreement.coalitions == 2 * PLAN.pairs
    assert truth.agreement(-expected).rho == pytest.approx(-agreement.rho)
    assert truth.agreement(np.ones_like(expected)).rho is None
    assert finish(here.worth(kind, 100)) == pytest.approx(total(game), abs=1e-5)


def test_a_subset_of_the_units_is_drawn_from_all() -> None:
    plan = Plan((0.5,), (0.5,), tests=5, draws=1, units=7, examples=4, pairs=1)
    truth = finish(bench(plan=plan).truth(UnitKind.NEURON, 100))
    assert truth.players == 60
    assert len(set(truth.units.tolist())) == 7
    assert truth.marginals.shape == (2, 4, 7)


def test_noise_has_no_reliability_and_shapley_values_have_no_gap() -> None:
    here = bench(VIT)
    spec = "permutation-shapley"
    found = score(Scoring(here.loaded, here.task, [load_method(spec)], [UnitKind.HEAD], 100))[spec]
    worth = finish(here.worth(UnitKind.HEAD, 100))
    assert efficiency(found.scores[UnitKind.HEAD], worth).gap == pytest.approx(0, abs=1e-4)
    doubled = efficiency(2 * found.scores[UnitKind.HEAD], worth)
    assert doubled.gap == pytest.approx(worth / abs(worth), rel=1e-3)
    plan = Plan((0.5,), (0.5,), tests=5, draws=1, units=100, examples=13, pairs=4)
    truth = finish(bench(plan=plan).truth(UnitKind.NEURON, 100))
    truth.marginals[:] = np.random.default_rng(0).normal(size=truth.marginals.shape)
    assert truth.reliability() < 0.4


def test_control_comes_back_between_passes_and_can_be_kept() -> None:
    here, passes = bench(), 0

    class Busy(Exception):
        pass

    def count() -> None:
        nonlocal passes
        passes += 1

    def stop() -> None:
        raise Busy

    finish(here.curve(np.arange(12.0).reshape(3, 4), UnitKind.HEAD, "least"), count)
    assert passes == 2 * 3  # two fractions, chunks of 7 for 20 examples
    with pytest.raises(Busy):
        finish(here.truth(UnitKind.HEAD, 100), stop)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in here.loaded.model.modules())


def test_areas_and_correlations_by_hand() -> None:
    assert area(1.0, [0.5, 1.0], [0.5, 0.0]) == pytest.approx(0.5)
    assert area(0.8, [0.4], [0.8]) == pytest.approx(0.8)
    assert rank_correlation(np.array([1.0, 2, 3, np.nan]), np.array([1.0, 4, 9, 0])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2]), np.array([1.0, 2])) is None
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None


def test_the_quick_plan_is_within_the_full_one() -> None:
    quick, full = PLANS["quick"], PLANS["full"]
    assert set(quick.least) <= set(full.least)
    assert set(quick.most) <= set(full.most)
    assert quick.tests < full.tests
    assert full.least == full.most == (0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80)


def test_the_harm_offered_keeps_most_on_the_probe_set() -> None:
    here = bench()
    found = score(Scoring(here.loaded, here.task, [load_method("two-sided")], [UnitKind.HEAD], 100))["two-sided"]
    choice = finish(here.harm(found.sides[UnitKind.HEAD], UnitKind.HEAD, 0.5))
    examples = here.task.examples(Split.PROBE)
    by_hand = []
    for harm in choice.harms:
        kept = []
        for fraction in PLAN.least:
            off = extreme_units(found.with_harm(harm).scores[UnitKind.HEAD], UnitKind.HEAD, "least", fraction)
            with torch.no_grad(), zeroed_weights(here.loaded.model, here.loaded.anatomy, off):
                kept.append(float(here.task.correct(here.loaded, examples).float().mean()))
        with torch.no_grad():
            start = float(here.task.correct(here.loaded, examples).float().mean())
        by_hand.append(area(start, PLAN.least, kept))
    assert choice.areas == pytest.approx(by_hand, abs=1e-6)
    assert choice.areas[choice.harms.index(choice.offered)] == max(choice.areas)
    assert choice.n == 13
    assert len(set(choice.areas)) > 1
