"""Curves: what is drawn is what was measured."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from frontend.figures import check_curves
from modelshapley.units import UnitKind
from tests.support.reports import chance, curve, real


def test_the_figure_is_one_that_plotly_takes_and_starts_at_the_intact_model() -> None:
    report = real("full")
    entry = next(e for e in report.maps if (e.method, e.unit) == ("two-sided", "head"))
    random = next(r for r in report.random if r.unit is UnitKind.HEAD)
    assert entry.least is not None
    figure = check_curves.figure(entry.least, random, UnitKind.HEAD)
    go.Figure(figure)
    lines = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    assert set(lines) == {"this map", "random orders"}
    assert lines["this map"]["x"][0] == 0
    assert lines["this map"]["y"] == pytest.approx(
        [100 * entry.least.points[0].intact, *(100 * p.accuracy for p in entry.least.points)]
    )
    assert lines["random orders"]["y"][1:] == pytest.approx([100 * a for a in random.accuracy])


def test_bands_are_the_intervals_and_the_reach_of_the_draws() -> None:
    line = check_curves.map_line(curve("least", {0.4: 0.5}, n=100), UnitKind.HEAD)
    assert line.bands[1] == pytest.approx((40.4, 59.6), abs=0.1)
    random = check_curves.random_line(chance({0.4: (0.2, 0.6)}), curve("least", {0.4: 0.5}, n=100))
    assert random.bands[1][0] < 20 < 60 < random.bands[1][1]


def test_random_orders_are_drawn_as_far_as_the_curve_goes() -> None:
    random = check_curves.random_line(chance({0.2: (0.8, 0.9), 0.8: (0.1, 0.2)}), curve("most", {0.4: 0.5}))
    assert random.shares == [0, 20]
    alone = check_curves.figure(curve("most", {0.05: 0.5}), chance({0.2: (0.8, 0.9)}), UnitKind.HEAD)
    assert [trace.get("name") for trace in alone["data"]] == [None, "this map"]


def test_areas_are_compared_only_over_the_same_shares() -> None:
    random = chance({0.4: (0.4, 0.6)})
    assert "Random orders: 0.600" in check_curves.sentence(curve("least", {0.4: 0.9}), random, UnitKind.HEAD)
    assert "Random" not in check_curves.sentence(curve("most", {0.05: 0.9}), random, UnitKind.HEAD)
