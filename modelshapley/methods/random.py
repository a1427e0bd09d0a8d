"""The baseline that knows nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from modelshapley.methods.base import Method, Moments, Scores
from modelshapley.methods.infos import RANDOM
from modelshapley.signals import Signals


class Random(Method):
    """Uniform on (0, 1), drawn from the run's seed. No unit; the draw is exact, so its standard error is 0."""

    info = RANDOM

    def statistics(self, signals: Signals) -> Mapping[str, Tensor]:
        return {}

    def read(self, moments: Mapping[str, Moments], shape: tuple[int, int], rng: np.random.Generator) -> Scores:
        return rng.random(shape), np.zeros(shape)
