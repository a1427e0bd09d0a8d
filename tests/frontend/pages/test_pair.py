"""Two maps side by side: what is drawn is their difference, and what was not made alike is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from frontend.figures import panels
from frontend.pages.compare import compare_view, pair, pair_figures
from frontend.pages.compare.address import Choice
from frontend.pages.compare.pair import Side
from modelshapley.contracts import Progress, Run, Status
from modelshapley.maps.compare import Tops
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind
from tests.support.plotted import plotted, unpacked

PROVENANCE = {"model": "m", "task": "t", "task_fingerprint": "f", "seed": 0, "n": 8, "method": "two-sided"}


def a_run(name: str = "one", **changed: Any) -> Run:
    values: dict[str, Any] = {
        "id": name,
        "model": "demo:m",
        "task": "t",
        "methods": ["two-sided", "mean-abs"],
        "units": [UnitKind.HEAD, UnitKind.NEURON],
        "limit": 8,
        "seed": 0,
        "status": Status.DONE,
        "progress": Progress(done=8, total=8),
        "shapes": {UnitKind.HEAD: [2, 3]},
        "created": datetime.now(UTC),
    }
    return Run(**(values | changed))


def a_side(scores: np.ndarray, kind: UnitKind = UnitKind.HEAD, name: str = "one", **provenance: Any) -> Side:
    found = ImportanceMap(
        method="two-sided",
        quantity="nats",
        signed=bool((scores < 0).any()),
        scores={kind: scores},
        standard_errors={kind: np.full_like(scores, 0.1)},
        provenance=PROVENANCE | provenance,
    )
    return Side(a_run(name), Choice(name, "two-sided"), found, f"map of {name}")


A = np.array([[6.0, 3, 1], [0, 0, 0]])
B = np.array([[0.0, 3, 1], [0, 6, 0]])


def text(component: Any) -> str:
    if component is None or isinstance(component, str | int | float):
        return str(component or "")
    if isinstance(component, list | tuple):
        return " ".join(map(text, component))
    return text(getattr(component, "children", None))


def hrefs(component: Any) -> list[str]:
    if isinstance(component, list | tuple):
        return [href for part in component for href in hrefs(part)]
    here = [component.href] if hasattr(component, "href") else []
    return [*here, *hrefs(getattr(component, "children", None) or [])] if hasattr(component, "children") else here


def test_the_difference_is_that_of_shares_in_points() -> None:
    gap, error = pair_figures.gaps(a_side(A), a_side(2 * B), UnitKind.HEAD)
    assert gap == pytest.approx(np.array([[60.0, 0, 0], [0, -60, 0]]))
    assert error == pytest.approx(np.full((2, 3), np.hypot(1, 0.5)))
    figure = pair_figures.difference(a_side(A), a_side(B), UnitKind.HEAD)
    go.Figure(plotted(figure))
    assert figure["data"][0]["z"] == pytest.approx(np.array([[60, 0, 0], [0, -60, 0]]), rel=1e-4)
    assert "rank" not in figure["data"][0]["hovertemplate"]
    assert figure["layout"]["dragmode"] is False


def test_the_scatter_holds_every_unit_once_and_marks_the_tops() -> None:
    tops = Tops.of(A, B, 1 / 3)
    figure = pair_figures.scatter(a_side(A, name="<b>"), a_side(B, name="two"), UnitKind.HEAD, tops)
    traces = figure["data"][1:]
    assert {trace["name"]: trace["text"] for trace in traces} == {
        "neither (3)": ["head 0.2", "head 1.0", "head 1.2"],
        "both (1)": ["head 0.1"],
        "map of &lt;b&gt; only (1)": ["head 0.0"],
        "map of two only (1)": ["head 1.1"],
    }
    assert len({trace["marker"]["symbol"] for trace in traces}) == 4
    assert figure["layout"]["xaxis"]["title"]["text"] == "share in map of &lt;b&gt;, %"


def test_lists_name_units_of_one_map_only_and_lead_to_it_with_them_off() -> None:
    body = compare_view.view(a_side(A), a_side(B, name="two"), UnitKind.HEAD, 20)
    assert "/runs/one?method=two-sided&unit=head&off=head:0.0" in hrefs(body)
    assert "/runs/two?method=two-sided&unit=head&off=head:1.1" in hrefs(body)
    assert "Spearman correlation of the two rankings over 6 heads" in text(body)
    assert "Important in map of one, not in map of two" in text(body)
    assert "Switch it off in map of two" in text(body)
    assert "0 of 1" in text(body)


def test_what_was_not_made_alike_is_said_first() -> None:
    def said(**provenance: Any) -> str:
        return " ".join(pair.describe_differences(a_side(A), a_side(B, name="two", **provenance))[0])

    assert said() == ""
    assert "Different seeds, 0 and 1" in said(seed=1, task_fingerprint="g")
    assert "Different tasks, t and u (fingerprints f and g)" in said(task="u", task_fingerprint="g")
    assert "The data, prompt or splits of the task differ" in said(task_fingerprint="g")
    assert "Different models, m and o" in said(model="o", revision="y")
    assert "files differ" in said(revision="y")
    assert "all classes in map of one, class 7 in map of two" in said(**{"class": "7"})
    assert "half of the probe set" in said(half=1)
    told = pair.describe_differences(a_side(A), a_side(B, name="two", n=4, method="mean-abs"))
    assert told[0] == []
    assert "map of one was scored on 8 examples, map of two on 4" in " ".join(told[1])
    body = compare_view.view(a_side(A), a_side(B, task="u", task_fingerprint="g"), UnitKind.HEAD, 20)
    assert "Different tasks" in text(body[0])
    assert "Same model, task, examples and seed." not in text(body)


def test_unequal_shapes_are_named() -> None:
    body = compare_view.view(a_side(A), a_side(np.ones((4, 9)), name="two"), UnitKind.HEAD, 5)
    assert "2 x 3 (layers x units) in map of one, 4 x 9 in map of two" in text(body)
    assert "Unit by unit" not in text(body)


def test_the_same_map_twice_and_a_constant_one() -> None:
    same = compare_view.view(a_side(A), a_side(A), UnitKind.HEAD, 20)
    assert "Both are the same map" in text(same)
    assert "No head. The top 20 % are the same." in text(same)
    constant = replace(a_side(B, name="two"), choice=Choice("two", "random"))
    constant = replace(constant, map=a_side(np.ones_like(B)).map)
    assert "ρ unknown" in text(compare_view.view(a_side(A), constant, UnitKind.HEAD, 20))


@pytest.mark.slow
def test_maps_of_millions_of_units() -> None:
    """80 layers of 28,672 neurons: no more is sent than a screen can show."""
    rng = np.random.default_rng(0)
    one, other = (np.abs(rng.normal(size=(80, 28_672))) for _ in range(2))
    sides = a_side(one, UnitKind.NEURON), a_side(other, UnitKind.NEURON, "two")
    body = compare_view.view(*sides, UnitKind.NEURON, 20)
    assert "too many for a link" in text(body)
    figure = pair_figures.difference(*sides, UnitKind.NEURON)
    assert unpacked(figure["data"][0]["z"]).size <= panels.CELLS
    points = pair_figures.scatter(*sides, UnitKind.NEURON, Tops.of(one, other, 0.2))["data"]
    assert sum(len(trace["x"]) for trace in points) <= 3002
