"""The report as text: everything in it, nothing that runs, and not large."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from frontend.figures import heatmaps, panels, svg
from frontend.figures.markup import Markup, joined, table, tag
from frontend.report.contents import Contents
from frontend.report.document import render
from modelshapley.contracts import Faithfulness, MapData, Measured, MethodInfo, Off, Trial
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import METHODS
from modelshapley.units import UnitKind
from tests.frontend.pages.test_pair import a_run
from tests.support.reports import real

EVIL = "<script>alert(1)</script>\" onload='x'&"
SHAPES = {UnitKind.LAYER: (30,), UnitKind.HEAD: (30, 9), UnitKind.NEURON: (30, 1536)}


def a_map(name: str, signed: bool = False) -> ImportanceMap:
    rng = np.random.default_rng(0)
    scores = {kind: rng.normal(size=shape) for kind, shape in SHAPES.items()}
    return ImportanceMap(
        method="two-sided",
        quantity="nats",
        signed=signed,
        scores=scores if signed else {kind: np.abs(array) for kind, array in scores.items()},
        standard_errors={kind: np.full(shape, 0.25) for kind, shape in SHAPES.items()},
        provenance={
            "model": name,
            "revision": "r" * 64,
            "task_fingerprint": "f",
            "n": 8,
            "versions": {"torch": name},
        },
    )


def contents(name: str = "m", faithfulness: Faithfulness | None = None, **changed: Any) -> Contents:
    intact = Measured(accuracy=0.9, interval=(0.8, 0.95), n=48)
    run = a_run(model=f"demo:{name}", task=name, notes=[name], units=list(SHAPES), intact=intact, methods=["two-sided"])
    infos: dict[str, MethodInfo] = dict(METHODS)
    held = a_map(name, signed=changed.pop("signed", False))
    trial = Trial(
        id="t",
        run="one",
        status="done",
        off=Off(head=[(0, 1)]),
        counts={UnitKind.HEAD: 1},
        n=48,
        total=48,
        accuracy=0.5,
        interval=(0.4, 0.6),
        intact=0.9,
        intact_interval=(0.8, 0.95),
        difference=-0.4,
        difference_interval=(-0.5, -0.3),
        predicted={"two-sided": 0.25},
        created=datetime.now(UTC),
    )
    values: dict[str, Any] = {
        "run": run,
        "method": "two-sided",
        "computed": "two-sided",
        "infos": infos,
        "maps": dict.fromkeys(SHAPES, held),
        "faithfulness": faithfulness or real("full"),
        "trials": [trial],
        "created": datetime.now(UTC),
    }
    return Contents(**(values | changed))


class Elements(HTMLParser):
    """Names of the elements, and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


def test_names_that_look_like_markup_are_words() -> None:
    text = render(contents(EVIL))
    found = Elements(text)
    assert "script" not in found.names
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert not [value for name, value in found.attributes if name in ("src", "href") and value != "data:,"]


def test_nothing_is_asked_of_anybody() -> None:
    text = render(contents())
    assert not re.search(r"https?://(?!www\.w3\.org)|url\(|@import", text)
    assert "default-src &#x27;none&#x27;" in text


def test_it_holds_what_it_promises() -> None:
    text = render(contents())
    for words in (
        "90.0 %",
        "95 % interval 80.0 to 95.0 %",
        "revision " + "r" * 64,
        "fingerprint f",
        "This ranking of heads is reliable.",
        "head 0.1 off",
        "−40.0 pts (−50.0 to −30.0 pts)",
        "The 20 most important neurons",
        "46,080 neurons",
        "Each cell shows the highest",
    ):
        assert words in text, words
    held = a_map("m")
    best = np.unravel_index(held.scores[UnitKind.HEAD].argmax(), (30, 9))
    assert f"<tr><td>head {best[0]}.{best[1]}</td><td>1</td>" in text


def test_a_large_map_makes_no_large_file() -> None:
    assert len(render(contents(signed=True)).encode()) < 600_000


def test_a_run_without_a_check_or_trials_says_so() -> None:
    run = contents().run
    text = render(contents(faithfulness=Faithfulness.unmeasured(run, {}), trials=[]))
    assert "is not checked" in text
    assert "No trials yet." in text
    assert "polyline" not in text


def test_colours_go_from_the_weakest_to_the_strongest() -> None:
    assert [svg.step(value, 2.0, signed=False) for value in (0.0, 1.0, 2.0, 9.0)] == ["s0", "s6", "s11", "s11"]
    assert [svg.step(value, 2.0, signed=True) for value in (-9.0, -1.0, 0.0, 2.0)] == ["d-12", "d-6", "d0", "d12"]
    css = svg.palette()
    assert f".s0{{fill:{heatmaps.SEQUENTIAL['light'][0]}}}" in css
    assert f".d-12{{fill:{heatmaps.DIVERGING['dark'][0]}}}" in css


@pytest.mark.parametrize("signed", [False, True])
def test_a_map_has_a_cell_for_every_unit_that_is_there(signed: bool) -> None:
    scores = np.random.default_rng(1).normal(size=(4, 7))
    scores[1, 5:] = np.nan
    values: Any = {"unit": UnitKind.HEAD, "scores": scores, "standard_errors": scores * 0, "signed": signed}
    markup = svg.heatmap(panels.pooled_panel(MapData.model_construct(**values)), signed, "a map")
    cells = sum(path.count("M") for path in re.findall(r'<path d="([^"]+)" class="[sd]', markup))
    assert cells == 4 * 7 - 2


def test_markup_escapes_words_and_leaves_markup() -> None:
    assert tag("p", "<b>", Markup("<b>"), class_='"') == '<p class="&quot;">&lt;b&gt;<b></p>'
    assert joined(["a&", None, [tag("br")]]) == "a&amp;<br>"
    assert "&lt;x&gt;" in table(["<x>"], [["<y>"]], "<z>")
    assert "<y>" not in table(["<x>"], [["<y>"]], "<z>")
