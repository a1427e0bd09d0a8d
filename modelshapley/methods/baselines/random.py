"""The baseline that knows nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from modelshapley.methods.base import Batch, Method, Moments, Reading, Scores
from modelshapley.methods.infos import RANDOM


class Random(Method):
    """Uniform on (0, 1), drawn from the run's seed. No unit; the draw is exact, so its standard error is 0.

    No pass.
    """

    info = RANDOM

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        return {}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        return reading.rng.random(reading.shape), np.zeros(reading.shape)
