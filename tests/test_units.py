"""Deactivations: canonical, checked, and the least or most important units."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshapley.contracts import Off
from modelshapley.errors import UnitOutOfRange
from modelshapley.units import Deactivation, UnitKind, UnitShapes, extreme_units

SHAPES = UnitShapes.even(layers=3, heads=4, neurons=5)
Pairs = list[tuple[int, int]]
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)))


@given(PAIRS, PAIRS, st.randoms())
def test_order_and_repeats_do_not_matter(heads: Pairs, neurons: Pairs, random: Random) -> None:
    shuffled = random.sample(heads + heads, len(heads) * 2)
    one = Deactivation.of({UnitKind.HEAD: heads, UnitKind.NEURON: neurons})
    other = Deactivation.of({UnitKind.NEURON: neurons, UnitKind.HEAD: shuffled})
    assert one == other
    assert one.key() == other.key()
    assert Off.from_deactivation(one).deactivation() == one


@given(PAIRS)
def test_masks_and_back(heads: Pairs) -> None:
    deactivation = Deactivation.of({UnitKind.HEAD: heads})
    mask = deactivation.mask(UnitKind.HEAD, SHAPES)
    assert mask.sum() == len(set(heads)) == len(deactivation)
    assert Deactivation.from_masks({UnitKind.HEAD: mask}) == deactivation


@pytest.mark.parametrize(
    ("kind", "unit", "words"),
    [
        (UnitKind.HEAD, (0, 4), "heads go from 0 to 3"),
        (UnitKind.NEURON, (3, 0), "layers go from 0 to 2"),
        (UnitKind.LAYER, (7,), "layers go from 0 to 2"),
        (UnitKind.HEAD, (0, -1), "heads go from 0 to 3"),
    ],
)
def test_out_of_range_is_named_with_the_range(kind: UnitKind, unit: tuple[int, ...], words: str) -> None:
    with pytest.raises(UnitOutOfRange, match=words):
        Deactivation.of({kind: [unit]}).check(SHAPES)


def test_least_and_most() -> None:
    scores = np.array([[3.0, -1.0], [0.5, 2.0]])
    assert extreme_units(scores, UnitKind.HEAD, "least", 0.5).of_kind(UnitKind.HEAD) == ((0, 1), (1, 0))
    assert extreme_units(scores, UnitKind.HEAD, "most", 0.25).of_kind(UnitKind.HEAD) == ((0, 0),)
    assert len(extreme_units(scores, UnitKind.HEAD, "most", 0.0)) == 0
    assert len(extreme_units(scores, UnitKind.HEAD, "most", 1.0)) == 4
    assert extreme_units(np.array([1.0, 1.0, 1.0]), UnitKind.LAYER, "most", 0.34).of_kind(UnitKind.LAYER) == ((0,),)


@given(st.floats(0, 1), st.integers(1, 200))
def test_the_count_is_the_nearest_whole_number(fraction: float, units: int) -> None:
    chosen = extreme_units(np.arange(units, dtype=float), UnitKind.LAYER, "least", fraction)
    assert abs(len(chosen) - fraction * units) <= 0.5


def test_a_deactivation_in_words() -> None:
    assert Deactivation.of({UnitKind.HEAD: [(1, 2)], UnitKind.LAYER: [0]}).describe() == "head 1.2, layer 0"
    many = Deactivation.of({UnitKind.NEURON: [(0, i) for i in range(5)], UnitKind.LAYER: [1]})
    assert many.describe() == "5 neurons, 1 layer"
    assert Deactivation().describe() == "nothing"
