"""Weights times activations, after Wanda."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from modelshapley.methods.base import MeanMethod
from modelshapley.methods.infos import WANDA
from modelshapley.signals.observe import Signals


class Wanda(MeanMethod):
    """E_b of the sum over the unit's channels of (sum of its |weights|) x (root mean square of the channel).

    A unit's share of the pruning score of Sun et al. 2023, taken example by example so that it streams; for a
    layer, the root mean square of what it adds, summed over channels. Units of activation, never negative; knows
    nothing of the loss. One forward pass.
    """

    info = WANDA
    parts: ClassVar[frozenset[str]] = frozenset({"weighted_norm"})

    def statistic(self, signals: Signals) -> Tensor:
        return signals.weighted_norm
