"""Figures of maps: what is markup is what the map says."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote

import numpy as np
import plotly.graph_objects as go
import pytest

from frontend.display import Display
from frontend.figures import heatmaps, panels
from frontend.figures.thumbnail import thumbnail
from modelshapley.contracts import Layout, MapData
from modelshapley.units import UnitKind
from tests.support.plotted import heatmap_traces, plotted, unpacked

SHAPES = {UnitKind.LAYER: (30, 1), UnitKind.HEAD: (30, 9), UnitKind.NEURON: (30, 1536)}


def a_map(kind: UnitKind, shape: tuple[int, int] | None = None, signed: bool = False, seed: int = 0) -> MapData:
    layers, width = shape or SHAPES[kind]
    markup = np.random.default_rng(seed).normal(size=(layers, width))
    scores = markup if signed else np.abs(markup)
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


def test_the_figure_is_one_that_plotly_takes(maps: dict[UnitKind, MapData]) -> None:
    go.Figure(plotted(heatmaps.map_figure(maps)))


def test_panels_stand_side_by_side_with_the_first_layer_on_top(maps: dict[UnitKind, MapData]) -> None:
    layout = heatmaps.map_figure(maps)["layout"]
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
    assert heatmaps.map_figure(maps)["layout"]["height"] / layers >= 15


def test_only_the_kinds_that_were_asked_for_are_drawn() -> None:
    figure = heatmaps.map_figure({UnitKind.HEAD: a_map(UnitKind.HEAD)})
    assert len(heatmap_traces(figure)) == 1
    assert figure["layout"]["xaxis"]["domain"] == [0, pytest.approx(1)]


def test_colours_span_zero_evenly_on_a_signed_map_and_start_at_zero_otherwise(
    maps: dict[UnitKind, MapData],
) -> None:
    layout = heatmaps.map_figure(maps)["layout"]
    signed = maps[UnitKind.HEAD].signed
    for axis in (layout["coloraxis"], layout["coloraxis2"], layout["coloraxis3"]):
        assert axis["cmin"] == (-axis["cmax"] if signed else 0)
    assert layout["meta"]["scales"] == (heatmaps.DIVERGING if signed else heatmaps.SEQUENTIAL)


def test_one_outlier_does_not_bleach_the_rest() -> None:
    scores = np.full((30, 50), 1.0)
    scores[3, 4] = 1000
    assert panels.colour_range(scores, signed=False) == (0, 1, True)
    assert panels.colour_range(scores[:2, :5], signed=False) == (0, 1, False)
    assert panels.colour_range(np.zeros((2, 2)), signed=True) == (-1, 1, False)


def test_a_pooled_cell_shows_its_strongest_unit_with_that_units_error_and_rank() -> None:
    data = a_map(UnitKind.NEURON, signed=True)
    scores = np.array(data.scores)
    panel = panels.pooled_panel(data, columns=600)
    assert panel.edges[0] == 0
    assert panel.edges[-1] == 1536
    assert len(panel.edges) - 1 <= 600
    assert panel.units == scores.size
    by_rank = np.argsort(-scores.reshape(-1), kind="stable")
    for layer, column in [(0, 0), (7, 100), (29, len(panel.edges) - 2)]:
        span = range(panel.edges[column], panel.edges[column + 1])
        best = max(span, key=lambda neuron: abs(scores[layer, neuron]))
        assert panel.best[layer, column] == best
        assert panel.scores[layer, column] == scores[layer, best]
        assert by_rank[panel.rank[layer, column] - 1] == layer * 1536 + best


def test_pooled_columns_are_equally_wide_but_for_the_last() -> None:
    """assets/marks.js finds a neuron's column by dividing by the first one's width."""
    for width in (1, 32, 600, 601, 1536, 28672):
        edges = panels.pooled_panel(a_map(UnitKind.NEURON, (2, width))).edges
        steps = np.diff(edges)
        assert (steps[:-1] == steps[0]).all()
        assert 0 < steps[-1] <= steps[0]


def test_hovering_names_the_unit_its_score_error_and_rank() -> None:
    data = a_map(UnitKind.HEAD)
    trace = heatmap_traces(heatmaps.map_figure({UnitKind.HEAD: data}))[0]
    template = trace["hovertemplate"]
    assert "head %{y}.%{customdata[0]}" in template
    assert "%{customdata[2]:.3g} ± %{customdata[3]:.2g}" in template
    assert "rank %{customdata[1]:,} of 270" in template
    scores = np.array(data.scores)
    best, ranks, scored, errors = trace["hover"]
    assert scored is None, "the colours are the scores: they are not sent twice"
    assert (unpacked(best)[4, 7], unpacked(ranks)[4, 7]) == (7, 1 + int((scores > scores[4, 7]).sum()))
    assert unpacked(errors)[4, 7] == 0.25
    assert unpacked(trace["z"])[4, 7] == pytest.approx(scores[4, 7], rel=1e-4)
    shares = heatmap_traces(heatmaps.map_figure({UnitKind.HEAD: data}, display=Display("share")))[0]
    assert unpacked(shares["hover"][2])[4, 7] == pytest.approx(scores[4, 7], rel=1e-4)


def test_an_unknown_error_is_drawn_as_such() -> None:
    data = a_map(UnitKind.HEAD, (2, 3)).model_copy(update={"standard_errors": [[None] * 3] * 2})
    trace = heatmap_traces(heatmaps.map_figure({UnitKind.HEAD: data}))[0]
    assert np.isnan(unpacked(trace["hover"][3])).all()


def test_a_panel_can_be_selected_by_a_box(maps: dict[UnitKind, MapData]) -> None:
    figure = heatmaps.map_figure(maps)
    assert figure["layout"]["dragmode"] == "select"
    axes = [trace["xaxis"] for trace in figure["data"] if trace["type"] == "scatter"]
    assert axes == [panel["axis"] for panel in figure["layout"]["meta"]["panels"]]


def test_a_thumbnail_is_darkest_where_the_map_is_highest() -> None:
    data = a_map(UnitKind.HEAD, (4, 4))
    picture = unquote(thumbnail(data).removeprefix("data:image/svg+xml,"))
    opacities = [float(text) for text in re.findall(r'fill-opacity="([\d.]+)"', picture)]
    assert len(opacities) == 16
    assert int(np.argmax(opacities)) == int(np.argmax(np.array(data.scores, float)))


def test_rows_are_drawn_as_the_mean_of_each_map_also_where_layers_differ() -> None:
    layout = Layout(projections=[{"q": 3, "up": 2}, {"q": 2, "cross q": 2, "up": 1}])
    data = a_map(UnitKind.ROW, (2, 5))
    figure = heatmaps.map_figure({UnitKind.ROW: data}, layout)
    scores = np.array(data.scores)
    expected = [
        [scores[0, :3].mean(), scores[0, 3:].mean(), np.nan],
        [scores[1, :2].mean(), scores[1, 4], scores[1, 2:4].mean()],
    ]
    markup = unpacked(heatmap_traces(figure)[0]["z"])
    np.testing.assert_allclose(markup, expected, rtol=1e-3)
    assert figure["layout"]["xaxis"]["ticktext"] == ["q", "up", "cross q"]
    assert figure["layout"]["meta"]["panels"][0]["spans"] == [[(0, 3), (3, 5), (0, 0)], [(0, 2), (4, 5), (2, 4)]]


def test_a_place_without_a_unit_is_drawn_as_a_gap() -> None:
    data = a_map(UnitKind.HEAD, (2, 4))
    scores = [[*data.scores[0][:2], None, None], data.scores[1]]
    figure = heatmaps.map_figure({UnitKind.HEAD: data.model_copy(update={"scores": scores})})
    assert np.isnan(unpacked(heatmap_traces(figure)[0]["z"])[0]).tolist() == [False, False, True, True]
    assert figure["layout"]["meta"]["panels"][0]["counts"] == [2, 4]
    assert "up to 4 per layer" in figure["layout"]["annotations"][0]["text"]
    assert "of 6" in heatmap_traces(figure)[0]["hovertemplate"]
    assert unquote(thumbnail(data.model_copy(update={"scores": scores}))).count("<rect") == 6


# -- looks ---------------------------------------------------------------------------------------


def test_a_percentile_is_the_share_of_units_that_rank_no_higher() -> None:
    data = a_map(UnitKind.HEAD, signed=True)
    panel = panels.pooled_panel(data, display=Display("percentile"))
    scores = np.array(data.scores)
    for place in [(0, 0), (13, 4), (29, 8)]:
        assert panel.values[place] == pytest.approx(100 * (scores <= scores[place]).mean())
    assert panel.values.max() == 100
    assert panels.colours(panel, signed=True).low == 0, "ranks have no sign"


def test_shares_are_of_the_sum_of_all_magnitudes() -> None:
    data = a_map(UnitKind.NEURON, signed=True)
    panel = panels.pooled_panel(data, display=Display("share"))
    assert panel.values == pytest.approx(100 * panel.scores / np.abs(np.array(data.scores, float)).sum())


def test_log_colours_tell_decades_apart_and_stop_four_below_the_top() -> None:
    scores = np.array([[1.0, 0.1, 1e-3, 1e-9, 0.0]])
    data = a_map(UnitKind.HEAD, (1, 5)).model_copy(update={"scores": scores.tolist()})
    painted = panels.colours(panels.pooled_panel(data, display=Display(log=True)), signed=False)
    assert painted.z[0] == pytest.approx([0, -1, -3, -4, -4])
    assert [words for _, words in painted.ticks] == ["≤ 0.0001", "0.01", "1"]


@pytest.mark.parametrize("columns", [1536, 100])
def test_sorted_layers_still_name_the_right_units(columns: int) -> None:
    data = a_map(UnitKind.NEURON, signed=True)
    scores = np.array(data.scores)
    panel = panels.pooled_panel(data, columns=columns, display=Display(ordered=True))
    assert panel.order is not None
    for layer in (0, 11):
        assert (np.diff(scores[layer, panel.order[layer]]) <= 0).all()
        for column in (0, columns // 3):
            units = panel.order[layer, panel.edges[column] : panel.edges[column + 1]]
            best = max(units, key=lambda unit: abs(scores[layer, unit]))
            assert panel.best[layer, column] == best
            assert panel.scores[layer, column] == scores[layer, best]
    meta = heatmaps.map_figure({UnitKind.NEURON: data}, display=Display(ordered=True))["layout"]["meta"]
    assert (unpacked(meta["panels"][0]["order"]) == panel.order).all()


def test_very_wide_panels_are_not_sorted() -> None:
    data = a_map(UnitKind.NEURON, (3, 30_000))
    assert panels.pooled_panel(data, display=Display(ordered=True)).order is None


def test_a_closer_look_shows_exact_cells_on_the_whole_panels_scale() -> None:
    data = a_map(UnitKind.NEURON, (30, 28_672))
    scores = np.array(data.scores)
    whole = panels.pooled_panel(data)
    assert whole.pooled
    assert whole.scores.size <= panels.CELLS
    seen = heatmaps.window_of(data, (1_000, 1_400), Display(), heatmaps.limits(data, Display()))
    assert seen["edges"] == list(range(1_000, 1_401))
    low, high, _ = panels.colour_range(whole.values, signed=False)
    assert unpacked(seen["cells"]["z"]) == pytest.approx(np.clip(scores[:, 1_000:1_400], low, high), rel=1e-4)
    best, rank = (unpacked(part) for part in seen["cells"]["hover"][:2])
    assert (best == np.arange(1_000, 1_400)).all()
    assert rank[7, 3] == 1 + (scores > scores[7, 1_003]).sum()
    assert (seen["cells"]["x0"], seen["cells"]["dx"]) == (1_000, 1)


def test_what_is_packed_keeps_four_digits_and_what_is_not_finite() -> None:
    values = np.array([[1.2345678, -9.87654e-9, 0.0, np.nan, np.inf, 3.3e38]])
    back = unpacked(heatmaps.packed(values, "f4"))
    assert back[0, :3] == pytest.approx(values[0, :3], rel=1e-4)
    assert np.isnan(back[0, 3])
    assert back[0, 4] == np.inf
    assert back[0, 5] == pytest.approx(3.3e38, rel=1e-4)
