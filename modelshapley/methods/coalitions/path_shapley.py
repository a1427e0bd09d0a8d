"""Gate derivatives averaged along the straight path from everything off to everything on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from modelshapley.methods.base import Batch
from modelshapley.methods.infos import PATH_SHAPLEY
from modelshapley.methods.sided import SidedMethod


class PathShapley(SidedMethod):
    """phi_b = -integral over t from 0 to 1 of c_b at all gates t (Aumann and Shapley 1974).

    Gauss-Legendre with `points` points, one backward pass each for each kind of unit. Read signed by default:
    then the scores sum to U(all) - U(none), up to the quadrature. Nats; positive: the unit lowers the loss.
    """

    info = PATH_SHAPLEY

    def values(self, batch: Batch) -> Tensor:
        phi = torch.zeros((batch.position.count, *batch.shape), dtype=torch.float64)
        for t, weight in zip(*self._nodes(), strict=True):
            phi -= float(weight) * batch.signals_at(torch.full(phi.shape, float(t))).gate.double().cpu()
        return phi

    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return points in (0, 1) and their weights, which sum to 1."""
        points, weights = np.polynomial.legendre.leggauss(int(self.parameters["points"]))
        return (points + 1) / 2, weights / 2
