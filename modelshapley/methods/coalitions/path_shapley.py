"""Gate derivatives averaged along the straight path from everything off to everything on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelshapley.methods.base import Batch, Moments
from modelshapley.methods.infos import PATH_GRID, PATH_SHAPLEY
from modelshapley.methods.sided import SidedMethod

Array = npt.NDArray[np.float64]
EARLY = 0.1  # where more than half of the change happens below this t, points are placed by the change
WORTH = "worth"


class PathShapley(SidedMethod):
    """phi_b = -integral over t from 0 to 1 of c_b at all gates t (Aumann and Shapley 1974).

    `points` backward passes for each kind of unit, by Gauss-Legendre; before them a forward pass at each t of PATH_GRID
    tells where the loss changes. Where a norm follows the gates (Gemma 2 and 3), it undoes every factor but the
    smallest, and all change happens near t = 0: then each stretch of the grid gets points by its share of the change,
    placed evenly in log t. Read signed by default: then the scores sum to U(all) - U(none), up to the quadrature; by
    how much they miss it is reported with the map. Nats; positive: the unit lowers the loss.
    """

    info = PATH_SHAPLEY

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        changes = self._changes(batch)
        worth = torch.from_numpy(changes.sum(1))[:, None, None]
        return {**self._sides(self._integrate(batch, changes)), WORTH: worth}

    def values(self, batch: Batch) -> Tensor:
        return self._integrate(batch, self._changes(batch))

    def worth(self, moments: Mapping[str, Moments]) -> float:
        """Return U(all) - U(none), the mean over examples, nats: what the signed scores should sum to."""
        return float(moments[WORTH].mean().item())

    def _changes(self, batch: Batch) -> Array:
        """Return by how much the utility rises along each stretch of the grid, (examples, stretches), nats."""
        rows = list(range(batch.position.count))
        shape = (len(rows), *batch.shape)
        values = [batch.utility(torch.full(shape, t), rows, "loss").double().cpu().numpy() for t in PATH_GRID]
        changes: Array = np.diff(np.stack(values, 1), axis=1)
        return changes

    def _integrate(self, batch: Batch, changes: Array) -> Tensor:
        points, weights = zip(*(self._nodes(change) for change in changes), strict=True)
        phi = torch.zeros((batch.position.count, *batch.shape), dtype=torch.float64)
        for t, weight in zip(np.stack(points, 1), np.stack(weights, 1), strict=True):
            gates = torch.from_numpy(t.astype(np.float32))[:, None, None].expand(phi.shape)
            phi -= torch.from_numpy(weight)[:, None, None] * batch.signals_at(gates).gate.double().cpu()
        return phi

    def _nodes(self, change: Array) -> tuple[Array, Array]:
        """Return `points` values of t in (0, 1) and their weights, for an example whose utility changes so."""
        count, share = int(self.parameters["points"]), np.abs(change)
        early = np.array(PATH_GRID[1:]) <= EARLY
        if share[early].sum() <= share.sum() / 2:
            return _gauss(count, 0.0, 1.0)
        parts = [
            _gauss(number, low, high) if low == 0 else _gauss_in_log(number, low, high)
            for number, low, high in zip(_allotted(share, count), PATH_GRID, PATH_GRID[1:], strict=False)
            if number
        ]
        points, weights = zip(*parts, strict=True)
        return np.concatenate(points), np.concatenate(weights)


def _gauss(count: int, low: float, high: float) -> tuple[Array, Array]:
    points, weights = np.polynomial.legendre.leggauss(count)
    return low + (high - low) * (points + 1) / 2, (high - low) * weights / 2


def _gauss_in_log(count: int, low: float, high: float) -> tuple[Array, Array]:
    """Points and weights of the integral over t from `low` to `high`, evenly placed in log t."""
    logs, weights = _gauss(count, float(np.log(low)), float(np.log(high)))
    return np.exp(logs), weights * np.exp(logs)


def _allotted(share: Array, count: int) -> list[int]:
    """Divide `count` points among stretches by their share of the change, by largest remainders."""
    exact = share / share.sum() * count
    whole = np.floor(exact).astype(int)
    for place in np.argsort(whole - exact, kind="stable")[: count - int(whole.sum())]:
        whole[place] += 1
    return [int(number) for number in whole]
