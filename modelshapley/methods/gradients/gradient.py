"""The paper's baseline |g|, for units."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from modelshapley.methods.base import MeanMethod
from modelshapley.methods.infos import GRADIENT
from modelshapley.signals.observe import Signals


class Gradient(MeanMethod):
    """E_b of the norm of dLoss_b/d(a constant added to the unit's activation).

    The paper's |g| is a weight's; a unit's stand-in is the gradient of what the unit puts out, which knows
    nothing of how large the unit's activation is. Nats per unit of activation, never negative. One pass.
    """

    info = GRADIENT
    parts: ClassVar[frozenset[str]] = frozenset({"offset"})

    def statistic(self, signals: Signals) -> Tensor:
        return signals.offset
