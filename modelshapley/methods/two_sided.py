"""Help and harm counted apart, then weighed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from modelshapley.methods.base import Method, Moments, Scores, standard_error
from modelshapley.methods.infos import TWO_SIDED
from modelshapley.signals import Signals


class TwoSided(Method):
    """(1 + harm) E_b[max(phi, 0)] + (1 - harm) E_b[max(-phi, 0)] with phi_b = -c_b + 1/2 c_b^2 (docs/method.md).

    phi_b is the loss that one example gains when the unit goes, to second order. `harm` 0 counts help and harm
    alike (close to mean-abs), 1 counts only help. Nats; not negative for harm up to 1.
    """

    info = TWO_SIDED

    def __init__(self, harm: float = 0.5) -> None:
        self.harm = harm

    @property
    def parameters(self) -> Mapping[str, float | str]:
        return {"harm": self.harm}

    def statistics(self, signals: Signals) -> Mapping[str, Tensor]:
        c = signals.gate
        phi = -c + 0.5 * c.square()
        return {"help": phi.clamp(min=0), "harm": (-phi).clamp(min=0)}

    def read(self, moments: Mapping[str, Moments], shape: tuple[int, int], rng: np.random.Generator) -> Scores:
        up, down = 1 + self.harm, 1 - self.harm
        helps, harms = moments["help"], moments["harm"]
        mean = up * helps.mean() + down * harms.mean()
        # An example counts on one side only, so the mixed term of the square is zero.
        mean_square = up**2 * helps.mean_square() + down**2 * harms.mean_square()
        return mean, standard_error(mean, mean_square, helps.n)
