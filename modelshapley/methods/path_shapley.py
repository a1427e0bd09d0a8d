"""Gate derivatives averaged along the straight path from everything off to everything on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from modelshapley.methods.base import Place, Shape
from modelshapley.methods.infos import PATH_SHAPLEY
from modelshapley.methods.sided import SidedMethod, mean_gate
from modelshapley.signals import Signals


class PathShapley(SidedMethod):
    """phi_b = -integral over t from 0 to 1 of c_b at all gates t (Aumann and Shapley 1974).

    Gauss-Legendre with `points` points, one backward pass each for each kind of unit. Read signed by default:
    then the scores sum to U(all) - U(none), up to the quadrature. Nats; positive: the unit lowers the loss.
    """

    info = PATH_SHAPLEY

    def gates(self, shape: Shape, place: Place) -> Sequence[Tensor]:
        return [torch.full((place.count, *shape), float(t)) for t in self._nodes()[0]]

    def values(self, signals: Sequence[Signals]) -> Tensor:
        return -mean_gate(signals, torch.from_numpy(self._nodes()[1]))

    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Points in (0, 1) and their weights, which sum to 1."""
        points, weights = np.polynomial.legendre.leggauss(int(self.parameters["points"]))
        return (points + 1) / 2, weights / 2
