"""The closed form of the quadratic game, with the right sign."""

from __future__ import annotations

from torch import Tensor

from modelshapley.methods.base import MeanMethod
from modelshapley.methods.infos import MODEL_SHAPLEY
from modelshapley.signals.observe import Signals


class ModelShapley(MeanMethod):
    """phi_i = E_b[-c_ib + 1/2 c_ib sum_k c_kb], the sum over the units of the block: the layer, or the model.

    c_ib is the gate derivative. Exact Shapley value of the second-order expansion of the loss whose Hessian is
    the per-example empirical Fisher, block-diagonal (paper, eq. 3; the printed eq. 7 has the
    second sign wrong). Nats; positive: removing the unit raises the loss. One pass.
    """

    info = MODEL_SHAPLEY

    def statistic(self, signals: Signals) -> Tensor:
        c = signals.gate
        return -c + 0.5 * c * block_sum(c, str(self.parameters["block"]))


def block_sum(c: Tensor, block: str) -> Tensor:
    """Sum each example's gate derivatives over its Fisher block, 'layer' or 'model'; broadcasts against c."""
    return c.sum(-1, keepdim=True) if block == "layer" else c.sum((-1, -2), keepdim=True)
