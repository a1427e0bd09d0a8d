"""Linear regression of the utility on which units are off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from modelshapley.methods.base import (
    Array,
    Batch,
    BatchPosition,
    Blocked,
    Method,
    Moments,
    Reading,
    Scores,
    Utility,
    blocks_of,
)
from modelshapley.methods.infos import ABLATION_REGRESSION

Bools = npt.NDArray[np.bool_]
RIDGE = 1e-3  # of the mean diagonal: with fewer ablations than units the smallest solution, not none


class AblationRegression(Method):
    """What it costs to switch a unit off while a few others are off too, by least squares over random ablations.

    Every example has one pass with everything on and `passes` - 1 ablations of its own, in each of which a share `off`
    of the units is off, by turns. What utility an ablation costs its example is regressed on which units it has off,
    over all examples together: the normal equations are sums over examples.
    Utility as in permutation-shapley; positive: the unit helps. Standard errors by the jackknife over 16 groups of
    examples. No backward pass.
    """

    info = ABLATION_REGRESSION

    def statistics(self, batch: Batch) -> Mapping[str, Blocked]:
        position, places = batch.position, np.flatnonzero(batch.is_unit)
        rows, size = list(range(position.count)), batch.is_unit.size
        what = cast("Utility", self.parameters["utility"])

        def utility(off: Bools) -> Array:
            gates = torch.from_numpy(~off).float().view(len(off), *batch.shape)
            values: Array = batch.utility(gates, rows, what).double().cpu().numpy()
            return values

        intact = utility(np.zeros((position.count, size), bool))
        equations = np.zeros((position.count, size, size + 1))
        passes, share = int(self.parameters["passes"]), float(self.parameters["off"])
        for off in _ablations(position, places, size, passes - 1, share):
            absent, lost = off.astype(np.float64), intact - utility(off)
            equations[:, :, :size] += absent[:, :, None] * absent[:, None, :]
            equations[:, :, size] += absent * lost[:, None]
        groups = blocks_of(position.total)[position.start : position.start + position.count]
        return {"equations": Blocked(torch.from_numpy(equations), torch.from_numpy(groups))}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        groups = moments["equations"].total
        whole = groups.sum(0)
        values, filled = _solve(whole), [group for group in groups if group.any()]
        if len(filled) < 2:
            return values.reshape(reading.shape), np.full(reading.shape, np.inf)
        others = np.stack([_solve(whole - group) for group in filled])
        errors = np.sqrt((len(filled) - 1) / len(filled) * np.square(others - others.mean(0)).sum(0))
        return values.reshape(reading.shape), errors.reshape(reading.shape)


def _ablations(
    position: BatchPosition, places: npt.NDArray[np.int64], size: int, count: int, share: float
) -> Iterator[Bools]:
    """Yield which places are off in each ablation of every example, (examples, size).

    Each example goes through its units in random order, taking a share of them for each ablation, again and again.
    """
    number = min(len(places), max(1, round(share * len(places))))
    rngs = [np.random.default_rng([position.seed, position.kind, position.start + i]) for i in range(position.count)]
    in_turn = len(places) // number
    for ablation in range(count):
        if ablation % in_turn == 0:
            orders = np.stack([rng.permutation(places) for rng in rngs])
        start = ablation % in_turn * number
        off = np.zeros((position.count, size), bool)
        np.put_along_axis(off, orders[:, start : start + number], True, axis=1)
        yield off


def _solve(equations: Array) -> Array:
    """Solve normal equations (places, places + 1), whose last column is the right side; 0 where nothing was off."""
    matrix, right = equations[:, :-1], equations[:, -1]
    diagonal = np.diag(matrix)
    used = diagonal > 0
    values = np.zeros(len(right))
    if used.any():
        ridge = RIDGE * diagonal[used].mean() * np.eye(int(used.sum()))
        values[used] = np.linalg.solve(matrix[np.ix_(used, used)] + ridge, right[used])
    return values
