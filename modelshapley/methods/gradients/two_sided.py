"""Help and harm summed separately, then weighted."""

from __future__ import annotations

from torch import Tensor

from modelshapley.methods.base import Batch
from modelshapley.methods.infos import TWO_SIDED
from modelshapley.methods.sided import SidedMethod


class TwoSided(SidedMethod):
    """(1 + harm) E_b[max(phi, 0)] + (1 - harm) E_b[max(-phi, 0)] with phi_b = -c_b + 1/2 c_b^2 (docs/methods.md).

    phi_b is the loss that one example gains when the unit goes, to second order. `harm` 0 counts help and harm
    alike (close to mean-abs), 1 counts only help. Nats; not negative for harm up to 1. One pass.
    """

    info = TWO_SIDED

    def values(self, batch: Batch) -> Tensor:
        c = batch.intact_signals().gate
        return -c + 0.5 * c.square()
