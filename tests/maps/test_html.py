"""A map in a notebook: well-formed, without scripts, with the numbers of the map."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind


def made(width: int) -> ImportanceMap:
    heads = np.linspace(-1, 2, 3 * width).reshape(3, width)
    heads[2, -1] = np.nan
    scores = {UnitKind.HEAD: heads, UnitKind.LAYER: np.array([0.5, 0.25, 1.0])}
    return ImportanceMap(
        method="two-sided <b>",
        quantity="loss increase, nats",
        signed=True,
        scores=scores,
        standard_errors={kind: np.full(values.shape, 0.125) for kind, values in scores.items()},
        provenance={"model": "demo:<script>", "task": "digits", "n": 64, "seed": 3},
    )


def test_every_unit_is_a_cell_and_the_most_important_are_named() -> None:
    html = made(4)._repr_html_()
    tree = ElementTree.fromstring(html)
    heads, layers = tree.findall("svg")
    assert len(heads.findall("rect")) == 11  # the last layer has one head less
    assert len(layers.findall("rect")) == 3
    shades = [float(rect.get("fill-opacity", "")) for rect in layers.findall("rect")]
    assert shades == [0.5, 0.25, 1.0]
    assert {rect.get("fill") for rect in heads.findall("rect")} == {"#1f5fae", "#b4531a"}
    assert "Most important: 2 (1 ± 0.12), 0 (0.5 ± 0.12), 1 (0.25 ± 0.12)" in html
    assert "Most important: 2.2 (" in html


def test_wide_maps_are_pooled_and_names_are_text() -> None:
    html = made(1000)._repr_html_()
    (heads, _) = ElementTree.fromstring(html).findall("svg")
    assert len(heads.findall("rect")) == 3 * 96
    assert "2,999 in 3 layers, largest of 11 a cell" in html
    assert "<script" not in html
    assert "demo:&lt;script&gt; · digits · n 64 · seed 3" in html
