"""The paper's baseline |theta g|, for units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from modelshapley.methods.base import MeanMethod, Moments, Reading, Scores
from modelshapley.methods.infos import GRADIENT_TRACE
from modelshapley.signals.observe import Signals


class GradientTrace(MeanMethod):
    """|E_b[c_ib]|: weight times gradient of the mean loss, summed over the unit's weights (paper, section 5).

    Nats, never negative. The standard error is that of the mean inside the bars. One pass.
    """

    info = GRADIENT_TRACE

    def statistic(self, signals: Signals) -> Tensor:
        return signals.gate

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        mean, error = super().read(moments, reading)
        return np.abs(mean), error
