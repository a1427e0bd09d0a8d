"""What each method's score is, checked against brute force or by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch

from modelshapley.errors import BadParameter, UnknownName
from modelshapley.methods import METHODS, canonical, load_method
from modelshapley.methods.base import BatchPosition, Moments, Reading, Utility
from modelshapley.signals.observe import Signals
from modelshapley.units import UnitKind

UNITS = 8
EXAMPLES = 5


@pytest.fixture(name="slopes")
def _slopes() -> torch.Tensor:
    return torch.randn((EXAMPLES, UNITS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def losses(slopes: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    """A loss that is quadratic in the gates, whose Hessian is the outer product of its gradient at gates 1."""
    return 0.5 * (1 + slopes @ (gates - 1)) ** 2


def signals_of(slopes: torch.Tensor) -> Signals:
    """Gate derivatives of the toy by autograd, as one layer of UNITS units."""
    gates = torch.ones(EXAMPLES, UNITS, dtype=torch.float64, requires_grad=True)
    (0.5 * (1 + (slopes * (gates - 1)).sum(1)) ** 2).sum().backward()
    c = gates.grad[:, None, :]
    return Signals(gate=c, offset=c.abs(), size=c.abs(), weighted_norm=c.abs())


def brute_force(utility: Callable[[frozenset[int]], float]) -> np.ndarray:
    """Shapley values by enumerating every coalition."""
    values = np.zeros(UNITS)
    for i in range(UNITS):
        others = [j for j in range(UNITS) if j != i]
        for size in range(UNITS):
            for coalition in combinations(others, size):
                gain = utility(frozenset((*coalition, i))) - utility(frozenset(coalition))
                values[i] += gain / (UNITS * comb(UNITS - 1, size))
    return values


@dataclass
class Same:
    """A batch whose every pass gives the same signals."""

    signals: Signals

    def __post_init__(self) -> None:
        self.position = BatchPosition(0, EXAMPLES, EXAMPLES, 0, 0)
        layers, units = self.signals.gate.shape[1:]
        self.shape = (layers, units)
        self.is_unit = np.ones(self.shape, bool)

    def intact_signals(self) -> Signals:
        return self.signals

    def signals_at(self, gates: torch.Tensor) -> Signals:
        return self.signals

    def utility(self, gates: torch.Tensor, rows: Sequence[int], what: Utility) -> torch.Tensor:
        """Of a game without interactions, in which a unit is worth minus its derivative."""
        return -(gates * self.signals.gate[rows]).sum((1, 2))


def scores(method_id: str, signals: Signals) -> np.ndarray:
    found: np.ndarray = read(method_id, signals)[0][0]
    return found


def read(spec: str, signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    """Scores and errors of a method on one batch; the same signals answer every pass it asks for."""
    method = load_method(spec)
    moments = {name: Moments.of(values) for name, values in method.statistics(Same(signals)).items()}
    return method.read(moments, reading())


def reading(seed: int = 0) -> Reading:
    rng, ones = np.random.default_rng(seed), np.ones((1, UNITS))
    return Reading(UnitKind.NEURON, (1, UNITS), EXAMPLES, rng, lambda: ones, lambda layer: [])


def test_model_shapley_equals_brute_force_and_the_printed_form_does_not(slopes: torch.Tensor) -> None:
    def utility(coalition: frozenset[int]) -> float:
        gates = torch.zeros(UNITS, dtype=torch.float64)
        gates[list(coalition)] = 1
        return -float(losses(slopes, gates).mean())

    truth = brute_force(utility)
    correct = scores("model-shapley", signals_of(slopes))
    printed = scores("model-shapley-paper", signals_of(slopes))
    np.testing.assert_allclose(correct, truth, atol=1e-10)
    # The printed form is a magnitude, so it is compared with the truth's.
    assert np.abs(printed - np.abs(truth)).max() > 0.1
    everything = utility(frozenset(range(UNITS))) - utility(frozenset())
    assert correct.sum() == pytest.approx(everything)


def test_one_unit_alone_two_sided_is_the_measured_change_split_by_sign(slopes: torch.Tensor) -> None:
    """On the toy the second order is exact, so phi_b is what each example's loss gains when one unit goes."""
    gain = []
    for i in range(UNITS):
        gates = torch.ones(UNITS, dtype=torch.float64)
        gates[i] = 0
        gain.append(losses(slopes, gates) - losses(slopes, torch.ones(UNITS, dtype=torch.float64)))
    gained = torch.stack(gain, dim=1).numpy()
    expected = 1.5 * np.maximum(gained, 0).mean(0) + 0.5 * np.maximum(-gained, 0).mean(0)
    np.testing.assert_allclose(scores("two-sided", signals_of(slopes)), expected, atol=1e-10)


@pytest.mark.parametrize("harm", [0.0, 0.5, 1.0, 3.0])
def test_two_sided_standard_error_is_that_of_its_per_example_values(slopes: torch.Tensor, harm: float) -> None:
    c = slopes.numpy()
    phi = -c + c**2 / 2
    values = (1 + harm) * np.maximum(phi, 0) + (1 - harm) * np.maximum(-phi, 0)
    mean, error = read(f"two-sided,harm={harm}", signals_of(slopes))
    np.testing.assert_allclose(mean[0], values.mean(0))
    np.testing.assert_allclose(error[0], values.std(0, ddof=1) / np.sqrt(EXAMPLES))


def test_magnitudes_by_hand(slopes: torch.Tensor) -> None:
    signals = signals_of(slopes)
    c = slopes.numpy()
    np.testing.assert_allclose(scores("mean-abs", signals), np.abs(c).mean(0))
    np.testing.assert_allclose(scores("gradient-trace", signals), np.abs(c.mean(0)))
    printed = np.abs((-c - c * c.sum(1, keepdims=True) / 2).mean(0))
    np.testing.assert_allclose(scores("model-shapley-paper", signals), printed)
    # Signed means cancel where magnitudes do not: the reason for keeping both.
    assert (scores("mean-abs", signals) > scores("gradient-trace", signals)).all()


def test_random_is_seeded_and_needs_no_pass() -> None:
    method = load_method("random")
    first = method.read({}, reading(7))[0]
    assert np.array_equal(first, method.read({}, reading(7))[0])
    assert not np.array_equal(first, method.read({}, reading(8))[0])
    assert method.info.passes == 0


@pytest.mark.parametrize("method_id", list(METHODS))
def test_only_methods_that_say_so_give_negative_scores(method_id: str, slopes: torch.Tensor) -> None:
    method = load_method(method_id)
    assert method.info is METHODS[method_id]
    assert (scores(method_id, signals_of(slopes)) < 0).any() == method.info.signed


def test_an_unknown_method_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"no method 'shapely'.*two-sided"):
        load_method("shapely")


def test_printed_form_smoothed_as_the_paper_says(slopes: torch.Tensor) -> None:
    """The moving average taken literally, mini-batch after mini-batch, with its weighted examples' spread."""
    c = slopes.numpy()
    phi = -c - c * c.sum(1, keepdims=True) / 2
    smoothed = phi[:2].mean(0)
    for start in (2, 4):
        smoothed = 0.7 * smoothed + 0.3 * phi[start : start + 2].mean(0)
    found, error = read("model-shapley-paper,alpha=0.3,batch=2", signals_of(slopes))
    np.testing.assert_allclose(found[0], np.abs(smoothed))
    weights = EXAMPLES * np.array([0.49 / 2, 0.49 / 2, 0.21 / 2, 0.21 / 2, 0.3])
    spread = (weights[:, None] ** 2 * (phi - smoothed) ** 2).sum(0)
    np.testing.assert_allclose(error[0], np.sqrt(spread / (EXAMPLES - 1) / EXAMPLES))


def test_model_wide_blocks_add_up_all_layers() -> None:
    c = torch.randn((EXAMPLES, 2, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signals = Signals(gate=c, offset=c, size=c, weighted_norm=c)
    by_layer, by_model = (
        load_method(f"model-shapley,block={b}").statistics(Same(signals))["value"] for b in ("layer", "model")
    )
    everything = c.sum((1, 2), keepdim=True)
    torch.testing.assert_close(by_model, -c + c * everything / 2)
    torch.testing.assert_close(by_layer[:, 1], -c[:, 1] + c[:, 1] * c[:, 1].sum(1, keepdim=True) / 2)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("path-shapley,points=0", "whole number from 1 to 64"),
        ("path-shapley,points=2.5", "whole number"),
        ("path-shapley,pints=4", r"no parameter 'pints'.*points"),
        ("model-shapley,block=heads", "layer, model"),
        ("two-sided,harm=nan", "number from 0 to 100"),
        ("mean-abs,x=1", "It has: none"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_possible(spec: str, words: str) -> None:
    with pytest.raises(BadParameter, match=words):
        load_method(spec)


def test_a_spec_has_one_spelling() -> None:
    assert canonical("path-shapley,harm=0.50,points=4") == "path-shapley,points=4,harm=0.5"
    assert canonical("two-sided,harm=0.5") == "two-sided"
    assert load_method("path-shapley,points=4").spec == "path-shapley,points=4"


def test_one_example_has_no_known_spread() -> None:
    assert np.isinf(Moments.of(torch.ones(1, 2, 3)).standard_error()).all()
