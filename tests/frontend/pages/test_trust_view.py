"""What the page of trust shows of a report, and what can be done in each state."""

from __future__ import annotations

from typing import Any

import pytest

from frontend.pages.trust import trust_cards, trust_view
from modelshapley.contracts import Efficiency, KindFaithfulness, Status
from modelshapley.evaluation.faithfulness import PLANS
from modelshapley.methods import METHODS
from modelshapley.units import UnitKind
from tests.frontend.pages.test_pair import a_run, text
from tests.support.reports import agreement, chance, curve, made, real

MEASURED: dict[str, Any] = {
    "least": curve("least", {0.2: 0.98, 0.4: 0.96}),
    "most": curve("most", {0.05: 0.7}),
    "agreement": agreement(0.9),
    "halves": 0.8,
}


def buttons(component: Any) -> list[str]:
    if isinstance(component, list | tuple):
        return [found for part in component for found in buttons(part)]
    if type(component).__name__ == "Button":
        return [component.children]
    children = getattr(component, "children", None)
    return [] if children is None or isinstance(children, str) else buttons(children)


@pytest.mark.parametrize(
    ("values", "effort", "offered", "said"),
    [
        ({}, "none", ["Check now", "Check thoroughly"], "A quick check takes"),
        ({"status": Status.RUNNING}, "quick", ["Cancel the check"], "Quick check in progress: 1 of 2 measurements."),
        (
            {"status": Status.CANCELLED},
            "full",
            ["Check now", "Check thoroughly"],
            "The check was cancelled after 1 of 2 measurements.",
        ),
        ({"status": Status.FAILED, "error": "the files changed"}, "quick", ["Try again"], "the files changed"),
        (MEASURED, "quick", ["Check thoroughly"], "This was a quick check"),
        (MEASURED, "full", [], ""),
    ],
)
def test_each_state_has_its_words_and_its_action(
    values: dict[str, Any], effort: str, offered: list[str], said: str
) -> None:
    report = made(chance({0.2: (0.8, 0.9), 0.4: (0.4, 0.5)}), **values).model_copy(update={"effort": effort})
    run = a_run(methods=["two-sided"])
    shown = trust_view.view(report, run, "two-sided", UnitKind.HEAD, METHODS, [])
    assert buttons(shown) == offered
    assert said in text(shown)


@pytest.mark.parametrize(("draws", "said"), [(1, "one random order"), (PLANS["quick"].draws, "3 random orders")])
def test_the_words_on_a_check_are_those_of_what_it_measured(draws: int, said: str) -> None:
    quick = real("quick")
    quick = quick.model_copy(update={"random": [c.model_copy(update={"draws": draws}) for c in quick.random]})
    told = text(trust_view.view(quick, a_run(methods=["two-sided"]), "two-sided", UnitKind.HEAD, METHODS, []))
    assert f"few examples and {said}" in told
    assert (len(PLANS["full"].least), PLANS["full"].draws) == (8, 5)
    assert "eight shares and five random orders" in told


def test_all_methods_of_the_run_stand_side_by_side_with_their_marks() -> None:
    report = real("full")
    run = a_run(methods=["two-sided", "model-shapley", "path-shapley,points=2", "random"])
    told = text(trust_view.view(report, run, "two-sided", UnitKind.HEAD, METHODS, []))
    least = {e.method: e.least.area for e in report.maps if e.unit is UnitKind.HEAD}
    for area in least.values():
        assert f"{area:.3f}" in told
    assert "Path Shapley (points=2) ● reliable" in told


def test_the_sum_is_held_against_what_was_measured() -> None:
    entry = KindFaithfulness(method="m", unit=UnitKind.HEAD, efficiency=Efficiency(scores=1.5, measured=3.0, gap=-0.5))
    told = text(trust_cards.layout(entry, a_run(), UnitKind.HEAD))
    assert "−50 %" in told
    assert "1.50 nats" in told
    assert "3.00 nats" in told


def test_a_scale_shows_the_interval_and_the_most_that_can_be_expected() -> None:
    marks = trust_cards.scale(0.5, (0.0, 0.8), 0.9).children[0].children
    places = {mark.className: mark.style for mark in marks if mark is not None and getattr(mark, "style", None)}
    assert places["band"] == {"left": "50.0%", "width": "40.0%"}
    assert (places["now"]["left"], places["intact"]["left"]) == ("75.0%", "95.0%")
