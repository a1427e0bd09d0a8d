"""What the page holds, and set operations on it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.pages.map.tray import trial_request
from frontend.selection import as_selection, combine, deactivation_of
from modelshapley.contracts import Off
from modelshapley.units import Deactivation, Treatment, UnitKind

LAYERS = st.lists(st.integers(0, 5), max_size=6)
HEADS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8)
DEACTIVATIONS = st.builds(
    lambda layer, head: Deactivation.of({UnitKind.LAYER: layer, UnitKind.HEAD: head}), LAYERS, HEADS
)
A = Deactivation.of({UnitKind.HEAD: [(0, 0), (0, 1)], UnitKind.LAYER: [2]})
B = Deactivation.of({UnitKind.HEAD: [(0, 1), (1, 1)], UnitKind.NEURON: [(2, 2)]})


def of_all(units: Deactivation) -> set[tuple[UnitKind, tuple[int, ...]]]:
    return {(kind, unit) for kind, units_of in units.units for unit in units_of}


@pytest.mark.parametrize(
    ("operation", "units"),
    [
        ("both", {UnitKind.HEAD: [(0, 1)]}),
        ("either", {UnitKind.HEAD: [(0, 0), (0, 1), (1, 1)], UnitKind.LAYER: [2], UnitKind.NEURON: [(2, 2)]}),
        ("only in A", {UnitKind.HEAD: [(0, 0)], UnitKind.LAYER: [2]}),
    ],
)
def test_set_operations_work_on_every_kind(operation: str, units: dict[UnitKind, list[Any]]) -> None:
    assert combine(operation, A, B) == Deactivation.of(units)


@given(DEACTIVATIONS, DEACTIVATIONS)
def test_the_three_parts_make_the_whole(a: Deactivation, b: Deactivation) -> None:
    parts = of_all(combine("both", a, b)), of_all(combine("only in A", a, b)), of_all(combine("only in A", b, a))
    assert sum(map(len, parts)) == len(combine("either", a, b))
    assert set().union(*parts) == of_all(a) | of_all(b)


@given(DEACTIVATIONS)
def test_what_is_held_is_what_was_chosen(units: Deactivation) -> None:
    assert deactivation_of(as_selection(units)) == units


def test_every_kind_and_the_treatment_reach_the_trial() -> None:
    units = Deactivation.of({UnitKind.EXPERT: [(1, 3)], UnitKind.ROW: [(0, 7)], UnitKind.LAYER: [2]})
    page = as_selection(units) | {"treatment": {"how": "offset", "value": -1.5}, "half_width": 0.02, "session": "me"}
    request = trial_request("a", page)
    assert request is not None
    assert request.off == Off(expert=[(1, 3)], row=[(0, 7)], layer=[2])
    assert request.treatment == Treatment("offset", -1.5)
    assert (request.half_width, request.session) == (0.02, "me")


def test_nothing_chosen_is_no_trial_whatever_would_be_done() -> None:
    assert trial_request("a", as_selection(Deactivation()) | {"treatment": {"how": "mean", "value": 0}}) is None
