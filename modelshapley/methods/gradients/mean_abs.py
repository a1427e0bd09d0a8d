"""Mean magnitude of the gate derivative."""

from __future__ import annotations

from torch import Tensor

from modelshapley.methods.base import MeanMethod
from modelshapley.methods.infos import MEAN_ABS
from modelshapley.signals.observe import Signals


class MeanAbs(MeanMethod):
    """E_b|c_ib|: how much the loss of an example moves, to first order, when the unit goes (Michel et al. 2019).

    Nats, never negative. Keeps what a signed mean cancels at a trained optimum. One pass.
    """

    info = MEAN_ABS

    def statistic(self, signals: Signals) -> Tensor:
        return signals.gate.abs()
