"""Charts of how many units matter count in whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

from frontend.figures import count_charts
from frontend.figures.planes import Plane
from modelshapley.units import UnitKind


@pytest.mark.parametrize(("units", "step"), [(4, 1), (6, 1), (40, None)])
def test_the_axis_of_counts_has_whole_numbers(units: int, step: int | None) -> None:
    scores = np.ones((3, units))
    plane = Plane("r", "m", UnitKind.HEAD, [3, units], scores, scores, "q", False, {})
    layout = count_charts.figure(plane, 0.5)["layout"]
    assert layout["xaxis"].get("dtick") == step
    assert layout["xaxis"]["tickformat"] == ",d"
    assert layout["yaxis"]["dtick"] == 1
