"""Shapley values by their definition, by switching units off: the reference for other methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelshapley.methods.base import Array, Batch, BatchPosition, Method, Moments, Reading, Scores, Utility
from modelshapley.methods.infos import PERMUTATION_SHAPLEY


class PermutationShapley(Method):
    """phi_i = E[U(before i leaves) - U(after)], units leaving in random order (Shapley 1953).

    U is minus an example's loss, or 1 where it is answered right (paper, section 3). Every example has its own
    orders, `pairs` times one and its reverse; so the mean over examples is unbiased, the spread over examples
    includes that of the orders, and one forward pass evaluates a coalition for each example of a batch. `truncate`
    ends an order once U is within that share of the example's whole range from its value with everything off, and
    shares the rest evenly; 0 is unbiased. Nats, or share of right answers; positive: the unit helps. No backward
    pass; 2 x pairs forward passes a unit, so at most `info.largest` units of a kind.
    """

    info = PERMUTATION_SHAPLEY

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        value = np.zeros((batch.position.count, int(batch.is_unit.sum())))
        game = _Game(batch, cast("Utility", self.parameters["utility"]), float(self.parameters["truncate"]))
        position = batch.position
        for pair in range(int(self.parameters["pairs"])):
            orders = np.stack([_order(position, i, pair, game.players) for i in range(position.count)])
            value += game.marginals(orders) + game.marginals(orders[:, ::-1])
        whole = torch.zeros((position.count, *batch.shape), dtype=torch.float64)
        whole[:, torch.from_numpy(batch.is_unit)] = torch.from_numpy(value / 2 / int(self.parameters["pairs"]))
        return {"value": whole}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        return moments["value"].mean(), moments["value"].standard_error()


def _order(position: BatchPosition, row: int, pair: int, players: int) -> npt.NDArray[np.int64]:
    """Return the order in which units leave for one example: a row of a random Latin square, uniform over all orders.

    Over as many examples as there are players, every unit leaves once at every step, which removes the variance that
    comes from when a unit leaves.
    """
    block, turn = divmod(position.start + row, players)
    rng = np.random.default_rng([position.seed, position.kind, block, pair])
    names, steps = rng.permutation(players), rng.permutation(players)
    order: npt.NDArray[np.int64] = names[(turn + steps) % players]
    return order


class _Game:
    """The games of a batch, one for each example, played at the same time."""

    def __init__(self, batch: Batch, what: Utility, truncate: float) -> None:
        self._batch, self._what, self._truncate = batch, what, truncate
        self._is_unit = torch.from_numpy(batch.is_unit)
        self.players = int(batch.is_unit.sum())
        rows = list(range(batch.position.count))
        self._everything = self._utility(np.ones((len(rows), self.players), bool), rows)
        self._nothing = self._utility(np.zeros((len(rows), self.players), bool), rows)

    def marginals(self, orders: npt.NDArray[np.int64]) -> Array:
        """Measure the utility lost when each player leaves, (examples, players), along one order for each example."""
        values = np.zeros(orders.shape)
        on = np.ones(orders.shape, bool)
        utility = self._everything.copy()
        active = np.arange(len(orders))
        for step in range(self.players):
            leaving = orders[active, step]
            on[active, leaving] = False
            is_last = step == self.players - 1
            utility_after = self._nothing[active] if is_last else self._utility(on[active], active.tolist())
            values[active, leaving] = utility[active] - utility_after
            utility[active] = utility_after
            converged = np.abs(utility_after - self._nothing[active]) <= self._truncate * np.abs(
                self._everything[active] - self._nothing[active]
            )
            if self._truncate and not is_last:
                for row in active[converged]:
                    values[row, orders[row, step + 1 :]] = (utility[row] - self._nothing[row]) / (
                        self.players - step - 1
                    )
                active = active[~converged]
            if not len(active):
                break
        return values

    def _utility(self, on: np.ndarray, rows: list[int]) -> Array:
        gates = torch.zeros((len(rows), *self._batch.shape))
        gates[:, self._is_unit] = torch.from_numpy(on).float()
        values: Array = self._batch.utility(gates, rows, self._what).double().cpu().numpy()
        return values
