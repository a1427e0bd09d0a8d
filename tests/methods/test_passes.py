"""Methods of several passes and forward-only sampling, against enumeration of every coalition of a real model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from shapiq import ExactComputer
from torch import Tensor

from modelshapley.errors import BadParameter
from modelshapley.evaluation.game import Game
from modelshapley.evaluation.sampling import Estimate, antithetic_pair, spread_order
from modelshapley.interventions.gates import gated
from modelshapley.methods import canonical, load_method
from modelshapley.methods.base import BatchPosition
from modelshapley.methods.coalitions.path_shapley import PathShapley
from modelshapley.methods.coalitions.permutation_shapley import _order
from modelshapley.methods.infos import PATH_GRID
from modelshapley.models.passes.prefix_tree import Continuation, log_likelihoods
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import PARTS, Signals, signals_of
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind
from tests.support.toys import CONFIGS, KINDS, LLAMA, VIT, ToyTask, tiny


@pytest.fixture(name="game", params=[VIT, LLAMA], ids=["vit", "llama"])
def _game(request: pytest.FixtureRequest) -> Game:
    loaded = tiny(request.param)
    task = ToyTask(loaded)
    return Game(loaded, task, UnitKind.HEAD, task.examples(Split.PROBE))


def exact(game: Game) -> np.ndarray:
    """Shapley values by enumerating every coalition of players, through a library that is not ours."""

    def values(coalitions: np.ndarray) -> np.ndarray:
        return np.array([game.value(on) for on in coalitions.astype(bool)])

    found = ExactComputer(values, game.players)("SV")
    return np.array([found[(player,)] for player in range(game.players)])


def total(game: Game) -> float:
    return game.value(np.ones(game.players, bool)) - game.value(np.zeros(game.players, bool))


def test_walks_with_suffix_reuse_equal_full_passes_and_leave_no_trace(game: Game) -> None:
    order = np.random.default_rng(3).permutation(game.players)
    on = np.ones(game.players, bool)
    walked = list(game.walk([int(p) for p in order]))
    assert len(walked) == game.players + 1
    for player, found in zip(order, walked[1:], strict=True):
        on[player] = False
        assert found == pytest.approx(game.value(on), abs=1e-5)
    assert len(set(walked)) > game.players / 2
    assert not any("forward" in vars(module) for module in game.loaded.model.modules())


def test_suffix_reuse_is_undone_after_an_error(game: Game) -> None:
    walk = game.walk([99])
    with pytest.raises(IndexError):
        list(walk)
    assert not any("forward" in vars(module) for module in game.loaded.model.modules())


def test_permutations_reach_the_enumerated_shapley_values() -> None:
    loaded = tiny(VIT)
    task = ToyTask(loaded)
    game = Game(loaded, task, UnitKind.HEAD, task.examples(Split.PROBE))
    truth = exact(game)
    empty = game.value(np.zeros(game.players, bool))
    orders = [spread_order(game.players, number, strata=4) for number in range(60)]
    pairs = np.array([antithetic_pair(game.walk, order, empty) for order in orders])
    estimate = Estimate(pairs)
    assert np.allclose(pairs.sum(1), total(game), atol=1e-4)
    z = (estimate.values - truth) / estimate.standard_errors
    assert np.abs(z).max() < 4
    assert np.corrcoef(estimate.values, truth)[0, 1] > 0.99
    assert estimate.split_half() > 0.9
    few = Estimate(pairs[:6])
    assert few.standard_errors.mean() > estimate.standard_errors.mean()


def test_a_truncated_walk_still_shares_out_the_whole_game() -> None:
    utilities = [1.0, 0.4, 0.05, 0.2, 0.0]
    asked = []

    def walk(order: Sequence[int]) -> Iterator[float]:
        for utility in utilities:
            asked.append(utility)
            yield utility

    pair = antithetic_pair(walk, [2, 0, 3, 1], 0.0, truncation=0.1)
    assert pair.sum() == pytest.approx(1.0)
    assert asked == [1.0, 0.4, 0.05] * 2


@pytest.mark.parametrize("spec", ["path-shapley,points=32", "coalition-shapley,passes=32"])
def test_path_and_coalitions_sum_to_the_whole_effect(game: Game, spec: str) -> None:
    scoring = Scoring(game.loaded, game.task, [load_method(spec)], [UnitKind.HEAD], 100)
    found = score(scoring)[spec]
    scores, errors = found.scores[UnitKind.HEAD], found.standard_errors[UnitKind.HEAD]
    tolerance = 1e-3 if spec.startswith("path") else 4 * float(np.sqrt(np.square(errors).sum()))
    assert scores.sum() == pytest.approx(total(game), abs=tolerance)
    assert abs(total(game)) > 0.01


@pytest.mark.parametrize("config", ["gemma2", "gemma3_text"])
@pytest.mark.parametrize("kind", [UnitKind.HEAD, UnitKind.NEURON])
def test_points_of_the_path_go_where_the_loss_changes(config: str, kind: UnitKind) -> None:
    """A norm behind the gates undoes all factors but the smallest, so that all change happens near 0."""
    loaded = tiny(CONFIGS[config])
    task = ToyTask(loaded, probe=6)
    for points, most in ((8, 0.6), (64, 0.1)):
        spec = f"path-shapley,points={points}"
        (found,) = score(Scoring(loaded, task, [load_method(spec)], [kind], 100)).values()
        examples = task.examples(Split.PROBE)
        losses = []
        for factor in (0.0, 1.0):
            factors = np.full(loaded.anatomy.shapes.of(kind), factor)
            with torch.no_grad(), gated(loaded.model, loaded.anatomy, {kind: factors}):
                losses.append(float(task.losses(loaded, examples).double().mean()))
        completeness = found.provenance["completeness"][kind.value]
        assert completeness["worth"] == pytest.approx(losses[0] - losses[1], rel=1e-4)
        assert completeness["sum"] == pytest.approx(found.scores[kind].sum())
        assert completeness["gap"] == pytest.approx(abs(completeness["sum"] / completeness["worth"] - 1), abs=1e-9)
        assert completeness["gap"] < most
        assert completeness["converged"] == (completeness["gap"] <= 0.05)
        assert bool(found.notes()) != completeness["converged"]


@pytest.mark.parametrize("kind", KINDS)
def test_path_derivatives_are_taken_at_the_gates_asked_for(kind: UnitKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """One Gauss-Legendre point is the derivative with every gate at one half: by finite difference."""
    even = np.diff(PATH_GRID)  # as if the loss changed evenly along the path
    monkeypatch.setattr(PathShapley, "_changes", lambda self, batch: np.tile(even, (batch.position.count, 1)))
    loaded = tiny(VIT)
    task = ToyTask(loaded)
    spec = "path-shapley,points=1"
    scores = score(Scoring(loaded, task, [load_method(spec)], [kind], 100))[spec].scores[kind]
    shape = loaded.anatomy.shapes.of(kind)
    unit = np.unravel_index(np.abs(scores).argmax(), shape)

    def loss_at(gate: float) -> float:
        factors = np.full(shape, 0.5)
        factors[unit] = gate
        with torch.no_grad(), gated(loaded.model, loaded.anatomy, {kind: factors}):
            return float(task.losses(loaded, task.examples(Split.PROBE)).double().mean())

    slope = (loss_at(0.55) - loss_at(0.45)) / 0.1
    assert scores[unit] == pytest.approx(-slope, rel=2e-2)
    assert abs(slope) > 1e-3


def test_harm_is_a_reading_of_a_finished_map() -> None:
    loaded = tiny(VIT)
    specs = ["two-sided", "two-sided,harm=0", "two-sided,harm=signed"]
    maps = score(Scoring(loaded, ToyTask(loaded), [load_method(s) for s in specs], [UnitKind.HEAD], 100))
    for spec, harm in (("two-sided,harm=0", 0.0), ("two-sided,harm=signed", None)):
        again = maps["two-sided"].with_harm(harm)
        np.testing.assert_allclose(again.scores[UnitKind.HEAD], maps[spec].scores[UnitKind.HEAD])
        np.testing.assert_allclose(again.standard_errors[UnitKind.HEAD], maps[spec].standard_errors[UnitKind.HEAD])
        assert again.signed == maps[spec].signed == (harm is None)
    assert not np.allclose(maps["two-sided"].scores[UnitKind.HEAD], maps["two-sided,harm=0"].scores[UnitKind.HEAD])


def test_baselines_by_hand() -> None:
    loaded = tiny(VIT)
    task = ToyTask(loaded)
    maps = score(
        Scoring(loaded, task, [load_method(m) for m in ("magnitude", "activation", "wanda")], [UnitKind.NEURON], 4)
    )
    module = loaded.model.get_submodule(loaded.anatomy.layers[1].mlp.output)
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        task.losses(loaded, task.examples(Split.PROBE)[:4])
    handle.remove()
    z = seen[0]
    weight = module.weight.abs()
    expected = {
        "magnitude": weight.mean(0),
        "activation": z.abs().mean((0, 1)),
        "wanda": (z.square().mean(1).sqrt() * weight.sum(0)).mean(0),
    }
    for method, values in expected.items():
        np.testing.assert_allclose(maps[method].scores[UnitKind.NEURON][1], values.numpy(), rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "config"), [(UnitKind.HEAD, VIT), pytest.param(UnitKind.LAYER, LLAMA, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("utility", ["loss", "accuracy"])
def test_permutation_shapley_reaches_the_enumerated_values(kind: UnitKind, config: Any, utility: Any) -> None:
    loaded = tiny(config)
    task = ToyTask(loaded)
    game = Game(loaded, task, kind, task.examples(Split.PROBE), utility)
    pairs = 30 if kind is UnitKind.HEAD else 120  # three layers have but six orders, and a right answer is a coin
    spec = canonical(f"permutation-shapley,pairs={pairs},utility={utility}")
    found = score(Scoring(loaded, task, [load_method(spec)], [kind], 100))[spec]
    truth, scores = exact(game), found.scores[kind].reshape(-1)
    assert scores.sum() == pytest.approx(total(game), abs=1e-5)
    # Errors hold the spread over examples too, so this is a wide net; the next line is the narrow one.
    assert np.all(np.abs(scores - truth) <= 4 * found.standard_errors[kind].reshape(-1) + 1e-9)
    assert np.abs(scores - truth).max() < 0.25 * np.abs(truth).max()
    if kind is UnitKind.HEAD:
        assert np.corrcoef(scores, truth)[0, 1] > 0.93


def test_a_truncated_permutation_still_shares_out_every_example() -> None:
    loaded = tiny(LLAMA)
    task = ToyTask(loaded)
    game = Game(loaded, task, UnitKind.HEAD, task.examples(Split.PROBE))
    whole, cut = (
        score(Scoring(loaded, task, [load_method(spec)], [UnitKind.HEAD], 100))[spec].scores[UnitKind.HEAD]
        for spec in ("permutation-shapley", "permutation-shapley,truncate=0.5")
    )
    assert cut.sum() == pytest.approx(total(game), abs=1e-4)
    assert not np.allclose(cut, whole)


def test_permutation_shapley_refuses_what_would_take_for_ever() -> None:
    loaded = tiny(transformers.LlamaConfig(**{**LLAMA.to_diff_dict(), "intermediate_size": 2500}))
    scoring = Scoring(loaded, ToyTask(loaded), [load_method("permutation-shapley")], [UnitKind.NEURON], 2)
    with pytest.raises(BadParameter, match=r"at most 4,096 units.*7,500 neurons"):
        score(scoring)


def test_coalitions_stop_when_their_error_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(VIT)
    made = {}
    for error in (0, 0.05, 0.3):
        spec = f"coalition-shapley,passes=64,error={error}"
        scoring = Scoring(loaded, ToyTask(loaded), [load_method(spec)], [UnitKind.HEAD], 4)
        passes = 0
        signals = Scoring.signals

        def counted(self: Scoring, *args: Any, signals: Any = signals) -> Any:
            nonlocal passes
            passes += 1
            return signals(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Scoring, "signals", counted)
            made[error] = passes, score(scoring)[canonical(spec)].scores[UnitKind.HEAD]
        made[error] = passes, made[error][1]
    assert made[0][0] == 64
    assert made[0.3][0] < made[0.05][0] < 64
    assert np.corrcoef(made[0.05][1].reshape(-1), made[0][1].reshape(-1))[0, 1] > 0.9


@pytest.mark.parametrize("config", [LLAMA, CONFIGS["t5"], CONFIGS["gpt_neox"], CONFIGS["swin"]])
def test_the_paper_pools_heads_and_layers_from_their_rows(config: Any) -> None:
    loaded = tiny(config)
    kinds = [UnitKind.HEAD, UnitKind.LAYER, UnitKind.ROW]
    spec, gate = "model-shapley-paper", "model-shapley-paper,pool=gate"
    found = score(Scoring(loaded, ToyTask(loaded), [load_method(spec), load_method(gate)], kinds, 100))
    rows, heads = (found[spec].scores[kind] for kind in (UnitKind.ROW, UnitKind.HEAD))
    np.testing.assert_allclose(found[spec].scores[UnitKind.LAYER], np.nanmean(rows, axis=1), rtol=1e-6)
    for number, layer in enumerate(loaded.anatomy.layers):
        names = [name for name, count in loaded.anatomy.layout.projections[number].items() for _ in range(count)]
        first = layer.attentions[0]
        mine = {part: [row for row, name in enumerate(names) if name == part] for part in "qkv"}
        for head in range(first.heads):
            of_head = []
            for part in "qkv":
                share = len(mine[part]) // first.width  # heads that this map holds: fewer where they are shared
                begin = head // (first.heads // share) * first.width
                of_head += mine[part][begin : begin + first.width]
            assert heads[number, head] == pytest.approx(rows[number, of_head].mean(), rel=1e-6)
    assert not np.allclose(heads, found[gate].scores[UnitKind.HEAD], equal_nan=True)


@pytest.mark.parametrize("alpha", [0, 0.1])
@pytest.mark.parametrize("kind", [UnitKind.HEAD, UnitKind.LAYER])
def test_standard_errors_of_pooled_rows_are_those_of_a_bootstrap(kind: UnitKind, alpha: float) -> None:
    """Of each unit within what 16 blocks can tell, and of all units together within a quarter."""
    loaded, n = tiny(LLAMA), 240
    method = load_method(f"model-shapley-paper,alpha={alpha}")
    job = Scoring(loaded, ToyTask(loaded, probe=n), [method], [UnitKind.ROW], n)
    values = {
        name: values.double().numpy()
        for (_, _, name), values in job._statistics(job.examples, 0)
        if isinstance(values, Tensor)
    }
    rows, weights = values["weighted"], values["weight"]
    groups = [(layer, g) for layer in range(rows.shape[1]) for g in loaded.anatomy.row_groups(kind, layer)]

    def scores_of(chosen: np.ndarray) -> np.ndarray:
        mean = rows[chosen].sum(0) / weights[chosen].sum(0)
        return np.array([np.abs(mean[layer, group]).mean() for layer, group in groups])

    (found,) = score(Scoring(loaded, ToyTask(loaded, probe=n), [method], [kind], n)).values()
    np.testing.assert_allclose(found.scores[kind].reshape(-1), scores_of(np.arange(n)), rtol=1e-5)
    rng = np.random.default_rng(0)
    bootstrap = np.std([scores_of(rng.integers(n, size=n)) for _ in range(400)], axis=0, ddof=1)
    ratios = found.standard_errors[kind].reshape(-1) / bootstrap
    assert 0.8 < np.exp(np.log(ratios).mean()) < 1.25
    assert ratios.min() > 0.5
    assert ratios.max() < 1.8


def test_padding_is_no_part_of_an_activation() -> None:
    loaded = tiny(LLAMA)
    sequels = [Continuation([1, 2, 3, 4, 5, 6, 7], 2), Continuation([8, 9, 4], 1)]

    def parts(rows: list[Continuation]) -> Signals:
        losses = partial(log_likelihoods, loaded, [[row] for row in rows])
        return signals_of(loaded.model, loaded.anatomy, losses, [UnitKind.NEURON])[UnitKind.NEURON]

    together, alone = parts(sequels), [parts([sequel]) for sequel in sequels]
    for part in PARTS:
        for row in (0, 1):
            one = getattr(alone[row], part)[0]
            torch.testing.assert_close(getattr(together, part)[row], one, rtol=1e-4, atol=1e-7)


def test_spread_orders_put_every_player_in_every_stratum() -> None:
    places = np.array([np.argsort(spread_order(12, number)) for number in range(12)])
    for group in (places[:6], places[6:]):
        assert all(sorted(player // 2) == list(range(6)) for player in group.T)
    assert not np.array_equal(places[0], places[6])


def test_orders_of_permutation_shapley_are_latin_squares() -> None:
    place = BatchPosition(0, 12, 24, 0, 1)
    orders = np.array([_order(place, row, 0, 12) for row in range(24)])
    for square in (orders[:12], orders[12:]):
        assert all(sorted(step) == list(range(12)) for step in square.T)
        assert all(sorted(order) == list(range(12)) for order in square)
    assert np.array_equal(orders[5], _order(BatchPosition(5, 1, 24, 0, 1), 0, 0, 12))
    assert not np.array_equal(orders[:12], orders[12:])
