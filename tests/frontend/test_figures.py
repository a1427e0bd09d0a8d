"""Figures of maps: what is drawn is what the map says."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote

import numpy as np
import plotly.graph_objects as go
import pytest

from frontend import figures
from modelshapley.contracts import Layout, MapData
from modelshapley.units import UnitKind

SHAPES = {UnitKind.LAYER: (30, 1), UnitKind.HEAD: (30, 9), UnitKind.NEURON: (30, 1536)}


def a_map(kind: UnitKind, shape: tuple[int, int] | None = None, signed: bool = False, seed: int = 0) -> MapData:
    layers, width = shape or SHAPES[kind]
    drawn = np.random.default_rng(seed).normal(size=(layers, width))
    scores = drawn if signed else np.abs(drawn)
    return MapData(
        run="a",
        method="m",
        unit=kind,
        shape=[layers] if kind is UnitKind.LAYER else [layers, width],
        scores=scores.tolist(),
        standard_errors=np.full((layers, width), 0.25).tolist(),
        quantity="nats",
        signed=signed,
        provenance={},
    )


@pytest.fixture(params=[False, True], ids=["unsigned", "signed"])
def maps(request: pytest.FixtureRequest) -> dict[UnitKind, MapData]:
    return {kind: a_map(kind, signed=request.param) for kind in SHAPES}


def heatmaps(figure: dict) -> list[dict]:
    return [trace for trace in figure["data"] if trace["type"] == "heatmap"]


def test_the_figure_is_one_that_plotly_takes(maps: dict[UnitKind, MapData]) -> None:
    go.Figure(figures.map_figure(maps))


def test_panels_stand_side_by_side_with_the_first_layer_on_top(maps: dict[UnitKind, MapData]) -> None:
    layout = figures.map_figure(maps)["layout"]
    domains = [layout[f"xaxis{n}"]["domain"] for n in ("", "2", "3")]
    assert domains[0][0] == 0
    assert domains[-1][1] == pytest.approx(1)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(domains))
    assert layout["yaxis"]["range"] == [29.5, -0.5]
    assert [layout[f"yaxis{n}"]["matches"] for n in ("2", "3")] == ["y", "y"]
    assert [panel["kind"] for panel in layout["meta"]["panels"]] == ["layer", "head", "neuron"]


@pytest.mark.parametrize("layers", [4, 12, 30, 80])
def test_rows_stay_readable_however_many_layers(layers: int) -> None:
    maps = {UnitKind.HEAD: a_map(UnitKind.HEAD, (layers, 4))}
    assert figures.map_figure(maps)["layout"]["height"] / layers >= 15


def test_only_the_kinds_that_were_asked_for_are_drawn() -> None:
    figure = figures.map_figure({UnitKind.HEAD: a_map(UnitKind.HEAD)})
    assert len(heatmaps(figure)) == 1
    assert figure["layout"]["xaxis"]["domain"] == [0, pytest.approx(1)]


def test_colours_span_zero_evenly_on_a_signed_map_and_start_at_zero_otherwise(
    maps: dict[UnitKind, MapData],
) -> None:
    layout = figures.map_figure(maps)["layout"]
    signed = maps[UnitKind.HEAD].signed
    for axis in (layout["coloraxis"], layout["coloraxis2"], layout["coloraxis3"]):
        assert axis["cmin"] == (-axis["cmax"] if signed else 0)
    assert layout["meta"]["scales"] == (figures.DIVERGING if signed else figures.SEQUENTIAL)


def test_one_outlier_does_not_bleach_the_rest() -> None:
    scores = np.full((30, 50), 1.0)
    scores[3, 4] = 1000
    assert figures.colour_range(scores, signed=False) == (0, 1, True)
    assert figures.colour_range(scores[:2, :5], signed=False) == (0, 1, False)
    assert figures.colour_range(np.zeros((2, 2)), signed=True) == (-1, 1, False)


def test_a_pooled_cell_shows_its_strongest_unit_with_that_units_error_and_rank() -> None:
    data = a_map(UnitKind.NEURON, signed=True)
    scores = np.array(data.scores)
    shown = figures.panel(data, columns=600)
    assert shown.edges[0] == 0
    assert shown.edges[-1] == 1536
    assert len(shown.edges) - 1 <= 600
    assert shown.units == scores.size
    by_rank = np.argsort(-scores.reshape(-1), kind="stable")
    for layer, column in [(0, 0), (7, 100), (29, len(shown.edges) - 2)]:
        span = range(shown.edges[column], shown.edges[column + 1])
        best = max(span, key=lambda neuron: abs(scores[layer, neuron]))
        assert shown.best[layer, column] == best
        assert shown.scores[layer, column] == scores[layer, best]
        assert by_rank[shown.rank[layer, column] - 1] == layer * 1536 + best


def test_pooled_columns_are_equally_wide_but_for_the_last() -> None:
    """assets/marks.js finds a neuron's column by dividing by the first one's width."""
    for width in (1, 32, 600, 601, 1536, 28672):
        edges = figures.panel(a_map(UnitKind.NEURON, (2, width))).edges
        steps = np.diff(edges)
        assert (steps[:-1] == steps[0]).all()
        assert 0 < steps[-1] <= steps[0]


def test_hovering_names_the_unit_its_score_error_and_rank() -> None:
    data = a_map(UnitKind.HEAD)
    trace = heatmaps(figures.map_figure({UnitKind.HEAD: data}))[0]
    template = trace["hovertemplate"]
    assert "head %{y}.%{customdata[0]}" in template
    assert "%{z:.3g} ± %{customdata[2]:.2g}" in template
    assert "rank %{customdata[1]:,} of 270" in template
    scores = np.array(data.scores)
    head, rank, error = trace["customdata"][4][7]
    assert (head, rank, error) == (7, 1 + int((scores > scores[4, 7]).sum()), 0.25)
    assert trace["z"][4][7] == pytest.approx(scores[4, 7], rel=1e-3)


def test_an_unknown_error_is_drawn_as_such() -> None:
    data = a_map(UnitKind.HEAD, (2, 3)).model_copy(update={"standard_errors": [[None] * 3] * 2})
    trace = heatmaps(figures.map_figure({UnitKind.HEAD: data}))[0]
    assert np.isnan(trace["customdata"][0][0][2])


def test_a_panel_can_be_selected_by_a_box(maps: dict[UnitKind, MapData]) -> None:
    figure = figures.map_figure(maps)
    assert figure["layout"]["dragmode"] == "select"
    axes = [trace["xaxis"] for trace in figure["data"] if trace["type"] == "scatter"]
    assert axes == [panel["axis"] for panel in figure["layout"]["meta"]["panels"]]


def test_a_thumbnail_is_darkest_where_the_map_is_highest() -> None:
    data = a_map(UnitKind.HEAD, (4, 4))
    picture = unquote(figures.thumbnail(data).removeprefix("data:image/svg+xml,"))
    opacities = [float(text) for text in re.findall(r'fill-opacity="([\d.]+)"', picture)]
    assert len(opacities) == 16
    assert int(np.argmax(opacities)) == int(np.argmax(data.scores))


def test_rows_are_drawn_as_the_mean_of_each_map_also_where_layers_differ() -> None:
    layout = Layout(projections=[{"q": 3, "up": 2}, {"q": 2, "cross q": 2, "up": 1}])
    data = a_map(UnitKind.ROW, (2, 5))
    figure = figures.map_figure({UnitKind.ROW: data}, layout)
    scores = np.array(data.scores)
    expected = [
        [scores[0, :3].mean(), scores[0, 3:].mean(), np.nan],
        [scores[1, :2].mean(), scores[1, 4], scores[1, 2:4].mean()],
    ]
    drawn = np.array(heatmaps(figure)[0]["z"], dtype=float)
    np.testing.assert_allclose(drawn, expected, rtol=1e-3)
    assert figure["layout"]["xaxis"]["ticktext"] == ["q", "up", "cross q"]
    assert figure["layout"]["meta"]["panels"][0]["spans"] == [[(0, 3), (3, 5), (0, 0)], [(0, 2), (4, 5), (2, 4)]]


def test_a_place_without_a_unit_is_drawn_as_a_gap() -> None:
    data = a_map(UnitKind.HEAD, (2, 4))
    scores = [[*data.scores[0][:2], None, None], data.scores[1]]
    figure = figures.map_figure({UnitKind.HEAD: data.model_copy(update={"scores": scores})})
    assert heatmaps(figure)[0]["z"][0][2:] == [None, None]
    assert figure["layout"]["meta"]["panels"][0]["counts"] == [2, 4]
    assert "up to 4 a layer" in figure["layout"]["annotations"][0]["text"]
    assert "of 6" in heatmaps(figure)[0]["hovertemplate"]
    assert unquote(figures.thumbnail(data.model_copy(update={"scores": scores}))).count("<rect") == 6
