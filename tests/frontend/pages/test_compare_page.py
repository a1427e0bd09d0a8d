"""The compare page's address, its maps, and their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from frontend.pages.compare import address, multiples
from frontend.pages.compare.address import Choice, Comparison
from frontend.pages.compare.choosers import pair_without
from frontend.pages.compare.names import Candidate, names
from frontend.pages.compare.resolve import first_kind, notices, resolve, shared
from modelshapley.contracts import Progress, Run
from modelshapley.units import UnitKind
from tests.frontend.pages.test_pair import a_run, a_side

ONE, OTHER = Choice("r1", "path-shapley,points=2", "a:b c"), Choice("r2", "two-sided,harm=0.25")
THIRD = Choice("r3", "random")


def test_an_address_is_read_as_it_was_written() -> None:
    two = address.write([ONE, OTHER], (0, 1), UnitKind.HEAD, 10)
    assert "pair" not in two
    assert address.parse(two) == Comparison((ONE, OTHER), (0, 1), UnitKind.HEAD, 10)
    three = address.write([ONE, OTHER, THIRD], (2, 0), UnitKind.HEAD, 5)
    assert address.parse(three) == Comparison((ONE, OTHER, THIRD), (2, 0), UnitKind.HEAD, 5)
    assert address.parse("") == Comparison()


def test_parts_that_are_not_valid_are_named() -> None:
    unclear = address.parse("?a=nothing&b=r:m&i=r:m&pair=az&unit=wheel&top=7").unclear
    assert unclear == ("a=nothing", "i=r:m", "pair=az", "unit=wheel", "top=7")
    assert address.parse("?a=r:m&b=r:n&pair=aa").unclear == ("pair=aa",)


def test_what_is_shown_when_a_link_says_little_or_wrong_things() -> None:
    runs = [a_run("one"), a_run("two", methods=["random"]), a_run("three", shapes={UnitKind.HEAD: [9, 9]})]

    def shown(*maps: Choice | None, pair: tuple[int, int] = (0, 1)) -> Any:
        return resolve(Comparison(maps, pair), runs)

    assert shown() == ([Choice("one", "two-sided"), Choice("one", "mean-abs")], (0, 1))
    assert shown(Choice("two", "random"))[0][1] == Choice("one", "two-sided")
    assert shown(Choice("one", "nonsense"), Choice("two", "random", "7"))[0] == [
        Choice("one", "two-sided"),
        Choice("two", "random"),
    ]
    gap = (Choice("one", "mean-abs"), Choice("two", "random"), Choice("nope", "random"), Choice("three", "mean-abs"))
    assert shown(*gap, pair=(0, 3)) == ([gap[0], gap[1], gap[3]], (0, 2))
    assert shown(*gap, pair=(2, 3))[1] == (0, 1)
    wanted = Comparison((Choice("one", "wheel"), Choice("two", "random", "7")), unclear=("top=7",))
    assert notices(wanted, [], runs) == [
        "Ignored a part of the link that is not valid: 'top=7'.",
        "Run one was not scored by 'wheel'.",
        "Run two has no class '7'. Showing all classes.",
    ]


def test_kinds_that_two_maps_share_are_offered() -> None:
    layers = a_run(units=[UnitKind.LAYER, UnitKind.HEAD])
    assert shared([a_run(), layers]) == [UnitKind.HEAD]
    assert shared([a_run(), layers, layers]) == [UnitKind.LAYER, UnitKind.HEAD]
    assert first_kind([UnitKind.LAYER, UnitKind.HEAD], "layer") is UnitKind.LAYER
    assert first_kind([UnitKind.LAYER, UnitKind.HEAD], "row") is UnitKind.HEAD
    assert first_kind([]) is None


def test_a_removed_map_leaves_the_pair_or_resets_it() -> None:
    assert pair_without(1, [0, 2]) == [0, 1]
    assert pair_without(2, [0, 2]) == [0, 1]
    assert pair_without(3, [0, 2]) == [0, 2]


def named_run(id_: str, name: str, **changed: Any) -> Run:
    return a_run(id_, **changed).model_copy(update={"name": name})


def named(*candidates: Candidate) -> list[str]:
    return names(candidates, {})


def test_names_are_those_of_runs_or_say_model_task_and_method() -> None:
    plain = Candidate(a_run("x"), Choice("x", "two-sided"))
    of_class = Candidate(a_run("x"), Choice("x", "mean-abs", "7"))
    run_name = Candidate(named_run("y", "My run"), Choice("y", "two-sided"))
    assert named(plain, of_class, run_name) == ["m · t · two-sided", "m · t, class 7 · mean-abs", "My run"]


@pytest.mark.parametrize(
    ("changed", "method", "revision", "suffixes"),
    [
        ({}, "mean-abs", "r", ("two-sided", "mean-abs")),
        ({"seed": 3}, "two-sided", "r", ("seed 0", "seed 3")),
        ({"progress": Progress(done=4, total=4)}, "two-sided", "r", ("n 8", "n 4")),
        ({}, "two-sided", "other", ("revision r", "revision other")),
        ({}, "two-sided", "r", ("one", "two")),
    ],
)
def test_equal_names_say_what_differs(
    changed: dict[str, Any], method: str, revision: str, suffixes: tuple[str, str]
) -> None:
    found = named(
        Candidate(named_run("one", "Mine"), Choice("one", "two-sided"), "r"),
        Candidate(named_run("two", "Mine", **changed), Choice("two", method), revision),
    )
    assert found == [f"Mine · {suffix}" for suffix in suffixes]


def test_the_same_map_twice_has_two_names() -> None:
    twice = Candidate(a_run("x"), Choice("x", "two-sided"))
    assert named(twice, twice) == ["m · t · two-sided", "m · t · two-sided (2)"]


def test_small_maps_share_their_colour_scale_and_layout() -> None:
    small, large = np.array([[1.0, 1, 2], [2, 2, 2]]), np.array([[-8.0, 1, 1], [0, 0, 0]])
    figures = multiples.figures([a_side(small), a_side(large, name="two")], UnitKind.HEAD)
    axes = [figure["layout"]["coloraxis"] for figure in figures]
    assert [(axis["cmin"], axis["cmax"]) for axis in axes] == [(-80.0, 80.0)] * 2
    assert axes[0] == axes[1]
    assert figures[0]["layout"]["height"] == figures[1]["layout"]["height"]
    assert figures[0]["layout"]["meta"] == figures[1]["layout"]["meta"]
