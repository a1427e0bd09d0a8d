"""How loud the unit is."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from modelshapley.methods.base import MeanMethod
from modelshapley.methods.infos import ACTIVATION
from modelshapley.signals.observe import Signals


class Activation(MeanMethod):
    """E_b of the mean |z| over the unit's channels and positions (a layer: of what it adds).

    Units of activation, never negative; knows nothing of the loss. One forward pass.
    """

    info = ACTIVATION
    parts: ClassVar[frozenset[str]] = frozenset({"size"})

    def statistic(self, signals: Signals) -> Tensor:
        return signals.size
