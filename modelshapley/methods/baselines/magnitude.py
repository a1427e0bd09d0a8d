"""How large the unit's weights are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from modelshapley.methods.base import Batch, Method, Moments, Reading, Scores
from modelshapley.methods.infos import MAGNITUDE


class Magnitude(Method):
    """Mean |weight| of the weights that consume the unit (a layer: of both its output projections).

    Units of weight, never negative; knows neither data nor loss. No pass; exact, so its standard error is 0.
    """

    info = MAGNITUDE

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        return {}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        return reading.weights(), np.zeros(reading.shape)
