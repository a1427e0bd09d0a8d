"""The widget of notebooks, without a browser: cells and units, and what a page may not select."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traitlets

from modelshapley.errors import ModelShapleyError, UnknownName
from modelshapley.maps.importance import ImportanceMap
from modelshapley.maps.widget import COLUMNS, MapWidget
from modelshapley.units import Deactivation, UnitKind


def made(neurons: int = 1000) -> ImportanceMap:
    """A map of 3 layers; the last one has a head less."""
    heads = np.linspace(-1, 2, 12).reshape(3, 4)
    heads[2, 3] = np.nan
    generator = np.random.default_rng(0)
    scores = {
        UnitKind.NEURON: generator.random((3, neurons)),
        UnitKind.HEAD: heads,
        UnitKind.LAYER: np.array([0.5, 0.25, 1.0]),
    }
    errors = {kind: np.full(values.shape, 0.125) for kind, values in scores.items()}
    return ImportanceMap("two-sided", "loss increase (nats)", True, scores, errors, {"n": 64})


def test_a_selection_is_the_units_of_its_cells() -> None:
    widget = made().widget("head")
    widget.selected = {"head": [[0, 1], [2, 2]], "layer": [[1, 0]], "neuron": [[0, 0], [2, COLUMNS - 1]]}
    found = widget.selection
    assert found.of_kind(UnitKind.HEAD) == ((0, 1), (2, 2))
    assert found.of_kind(UnitKind.LAYER) == ((1,),)
    first, last = [0, *range(994, 1000)], widget.maps["neuron"]["edges"]
    assert set(found.of_kind(UnitKind.NEURON)) == {(0, i) for i in range(last[1])} | {(2, i) for i in first[1:]}
    assert len(last) == COLUMNS + 1
    assert widget.title == "two-sided: loss increase (nats), n 64"
    assert len(repr(widget)) < 80


def test_selecting_units_selects_their_cells() -> None:
    wide, widget = made(), MapWidget(made(100))
    chosen = Deactivation.of({UnitKind.HEAD: [(1, 3)], UnitKind.LAYER: [0], UnitKind.NEURON: [(2, 99), (0, 0)]})
    widget.select(chosen)
    assert widget.selection == chosen
    pooled = wide.widget()
    pooled.select(wide.least("neuron", 0.01))
    assert set(wide.least("neuron", 0.01).of_kind(UnitKind.NEURON)) <= set(pooled.selection.of_kind(UnitKind.NEURON))
    with pytest.raises(UnknownName):
        widget.select(Deactivation.of({UnitKind.EXPERT: [(0, 1)]}))


CELLS = ([3, 0], [0, 4], [-1, 0], [0], [0, True])


@pytest.mark.parametrize("cells", [*({"head": [cell]} for cell in CELLS), {"row": [[0, 0]]}])
def test_a_page_cannot_select_what_the_map_has_not(cells: dict[str, Any]) -> None:
    widget = made().widget()
    with pytest.raises(traitlets.TraitError, match="has no cell"):
        widget.set_state({"selected": cells})
    assert len(widget.selection) == 0
    with pytest.raises(UnknownName):
        made().widget("expert")


def test_without_its_packages_the_widget_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelshapley.extras.find_spec", lambda module: None)
    with pytest.raises(ModelShapleyError, match=r"anywidget: pip install 'modelshapley\[notebook\]'"):
        made().widget()
