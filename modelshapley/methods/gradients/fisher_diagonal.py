"""The diagonal of the empirical Fisher, in gates."""

from __future__ import annotations

from torch import Tensor

from modelshapley.methods.base import MeanMethod
from modelshapley.methods.infos import FISHER_DIAGONAL
from modelshapley.signals.observe import Signals


class FisherDiagonal(MeanMethod):
    """1/2 E_b[c_ib^2]: the second-order term of a unit alone (Optimal Brain Damage with the Fisher as Hessian).

    Nats, never negative. One pass.
    """

    info = FISHER_DIAGONAL

    def statistic(self, signals: Signals) -> Tensor:
        return 0.5 * signals.gate.square()
