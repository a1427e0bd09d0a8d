"""The closed form as the paper prints it, ranked by its absolute value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from modelshapley.methods.base import MeanMethod, Moments, Scores
from modelshapley.methods.infos import MODEL_SHAPLEY_PAPER
from modelshapley.signals import Signals


class ModelShapleyPaper(MeanMethod):
    """|E_b[-c_ib - 1/2 c_ib sum_k c_kb]|, the sum over the units of the same layer (paper, eq. 7, Algorithm 2).

    Kept for comparison: the minus before the second term contradicts the paper's own eq. 3. Nats, never negative.
    The standard error is that of the mean inside the bars.
    """

    info = MODEL_SHAPLEY_PAPER

    def statistic(self, signals: Signals) -> Tensor:
        c = signals.gate
        return -c - 0.5 * c * c.sum(-1, keepdim=True)

    def read(self, moments: Mapping[str, Moments], shape: tuple[int, int], rng: np.random.Generator) -> Scores:
        mean, error = super().read(moments, shape, rng)
        return np.abs(mean), error
