"""Parts of the map page: counts above a threshold, units in order, one unit. What is told is what the map says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import plotly.graph_objects as go
import pytest

from frontend import display
from frontend.address import View, parse, write
from frontend.display import Display
from frontend.figures import count_charts
from frontend.figures.planes import Plane
from frontend.pages.map import parts, top, unit_panel
from modelshapley import formatting
from modelshapley.contracts import Off, Status, Trial
from modelshapley.units import UnitKind

RNG = np.random.default_rng(5)


def a_plane(scores: np.ndarray, kind: UnitKind = UnitKind.HEAD) -> Plane:
    return Plane("run", "m", kind, list(scores.shape), scores, np.full_like(scores, 0.5), "nats", False, {})


HEADS = a_plane(np.abs(RNG.normal(size=(6, 9))))
SIGNED = a_plane(RNG.normal(size=(6, 9)))
RAGGED = a_plane(np.array([[0.3, 0.1, np.nan], [0.2, 0.5, 0.4]]))


def text_of(component: object) -> str:
    """All words of a Dash component."""
    if component is None or isinstance(component, bool):
        return ""
    if isinstance(component, str | int | float):
        return str(component)
    if isinstance(component, list | tuple):
        return " ".join(text_of(part) for part in component)
    return text_of(getattr(component, "children", None))


@pytest.mark.parametrize("found", [HEADS, SIGNED, RAGGED])
def test_counts_are_of_units_that_reach_the_threshold(found: Plane) -> None:
    threshold = count_charts.suggested(found)
    reached = count_charts.reaching(found, threshold)
    assert reached == [sum(score >= threshold for score in row) for row in found.scores.tolist()]
    assert 0 < sum(reached) < np.isfinite(found.scores).sum()
    drawn = count_charts.figure(found, threshold)
    go.Figure(drawn)
    assert drawn["data"][0]["x"] == reached
    assert sum(drawn["data"][1]["y"]) == np.isfinite(found.scores).sum(), "every unit is in the spread"
    assert drawn["layout"]["shapes"][0]["x0"] == threshold


def test_the_sentence_tells_number_share_and_what_they_hold() -> None:
    found = a_plane(np.array([[4.0, 1.0], [3.0, 2.0]]))
    assert count_charts.sentence(found, 3.0) == (
        "2 of 4 heads (50.0 %) score at least 3.00. They hold 70.0 % of the total."
    )


def test_equal_scores_have_a_spread_too() -> None:
    go.Figure(count_charts.figure(a_plane(np.full((2, 3), 0.7)), 0.7))
    go.Figure(count_charts.figure(a_plane(np.zeros((2, 3))), 0.0))


@pytest.mark.parametrize("which", ["most", "least"])
def test_units_come_in_order_and_places_without_one_do_not(which: str) -> None:
    found = top.places(RAGGED, "", which)
    scores = RAGGED.scores.reshape(-1)[found]
    assert len(found) == 5
    assert scores.tolist() == sorted(scores.tolist(), reverse=which == "most")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("1", [4, 5, 3]), ("layer 1", [4, 5, 3]), ("head 1.0", [3]), ("0.2", []), ("7", []), ("x", [4, 5, 0, 3, 1])],
)
def test_units_are_found_by_layer_or_by_place(wanted: str, meant: list[int]) -> None:
    assert top.places(RAGGED, wanted, "most").tolist() == meant


def test_the_table_tells_what_the_map_holds() -> None:
    assert top.table(RAGGED, "0.2") == []
    (row,) = top.table(RAGGED, "1.1")
    assert row == {
        "unit": "1.1",
        "name": "head 1.1",
        "rank": "1",
        "score": "0.500 ± 0.500",
        "share": "33.3 %",
        "bar": 90,
    }


def a_trial(off: Off, n: int, status: Status = Status.DONE) -> Trial:
    return Trial(
        id=f"t{n}",
        run="run",
        status=status,
        off=off,
        counts={},
        n=n,
        total=360,
        difference=-0.05,
        difference_interval=(-0.1, 0.0),
        created=datetime.now(UTC),
    )


def test_the_measured_trial_on_most_examples_counts() -> None:
    one = Off(head=[(1, 1)])
    found = unit_panel.widest([a_trial(one, 40), a_trial(one, 120), a_trial(one, 300, Status.RUNNING)])
    assert found is not None
    assert found.id == "t120"
    assert unit_panel.widest([]) is None


def test_a_unit_is_told_with_its_classes_in_order() -> None:
    africa, asia = (a_plane(np.array([[0.3, low], [0.2, 0.5]])) for low in (0.25, 0.75))
    found = a_plane(np.array([[0.3, 0.1], [0.2, 0.4]]))
    told = text_of(unit_panel.view(found, (0, 1), [("Africa", africa), ("Asia", asia)], None, 2))
    assert "Head 0.1" in told
    assert "0.100 ± 0.500" in told
    assert "4 of 4" in told
    assert "10.0 %" in told
    assert told.index("Asia") < told.index("Africa")
    assert "Role" not in told
    signed = replace(found, scores=np.array([[0.3, -0.9], [0.2, 0.4]]), standard_errors=np.full((2, 2), 0.1))
    signed = replace(signed, provenance={"n": 64})
    assert f"hurts ({formatting.MINUS}0.900 ± 0.100)" in text_of(unit_panel.view(found, (0, 1), [], None, 0, signed))
    measured = unit_panel.view(found, (0, 1), [], a_trial(Off(head=[(0, 1)]), 90), 0)
    assert f"{formatting.MINUS}5.0 pts ({formatting.MINUS}10.0 to 0.0 pts), n 90" in text_of(measured)


@pytest.mark.parametrize("look", [Display(), Display("share"), Display("percentile", ordered=True), Display(log=True)])
def test_a_look_survives_the_address(look: Display) -> None:
    assert display.parse(display.write(look)) == look
    view = View(method="two-sided", display=look, label="North & South")
    back = parse(write("run", view).partition("?")[2])
    assert (back.display, back.label, back.unclear) == (look, "North & South", ())


def test_a_look_that_is_not_known_is_said_and_left_out() -> None:
    view = parse("?look=percentile,shiny")
    assert view.display == Display()
    assert view.unclear == ("look=shiny",)


def test_tiny_shares_are_not_nothing() -> None:
    assert formatting.share(0.0321) == "3.2 %"
    assert formatting.share(0.0000123) == "0.00123 %"
    assert formatting.share(0) == "0.0 %"


def test_a_caption_names_model_method_n_and_seed() -> None:
    provenance = {"model": "m", "revision": "0123456789abcdef", "task": "t", "n": 64, "seed": 3}
    scores = np.ones((2, 2))
    plane = Plane("r", "two-sided", UnitKind.HEAD, [2, 2], scores, scores, "loss increase, nats", False, provenance)
    text = parts.caption(plane, "Africa")
    assert text.startswith("Importance of the units of m (revision 0123456789ab) on t, class Africa. ")
    assert "Colour: loss increase, nats;" in text
    assert text.endswith("Method: two-sided, n = 64 probe examples, seed 3.")
