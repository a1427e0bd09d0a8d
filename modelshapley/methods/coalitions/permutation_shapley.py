"""Shapley values by their definition, by switching off: the truth that other methods are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelshapley.methods.base import Array, Batch, Method, Moments, Place, Reading, Scores, Utility
from modelshapley.methods.infos import PERMUTATION_SHAPLEY


class PermutationShapley(Method):
    """phi_i = E[U(before i leaves) - U(after)], units leaving in random order (Shapley 1953).

    U is minus an example's loss, or 1 where it is answered right (paper, section 3). Every example has orders of
    its own, `pairs` times one and its reverse; so the mean over examples is unbiased, its spread over examples
    holds that of the orders, and one forward pass evaluates a coalition for each example of a batch. `truncate`
    ends an order once U is within that share of the example's whole range from its value with everything off, and
    shares the rest evenly; 0 is unbiased. Nats, or share of right answers; positive: the unit helps. No backward
    pass; 2 x pairs forward passes a unit, so at most `info.largest` units of a kind.
    """

    info = PERMUTATION_SHAPLEY

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        value = np.zeros((batch.place.count, int(batch.there.sum())))
        game = _Game(batch, cast("Utility", self.parameters["utility"]), float(self.parameters["truncate"]))
        place = batch.place
        for pair in range(int(self.parameters["pairs"])):
            orders = np.stack([_order(place, i, pair, game.players) for i in range(place.count)])
            value += game.marginals(orders) + game.marginals(orders[:, ::-1])
        whole = torch.zeros((place.count, *batch.shape), dtype=torch.float64)
        whole[:, torch.from_numpy(batch.there)] = torch.from_numpy(value / 2 / int(self.parameters["pairs"]))
        return {"value": whole}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        return moments["value"].mean(), moments["value"].standard_error()


def _order(place: Place, row: int, pair: int, players: int) -> npt.NDArray[np.int64]:
    """The order in which units leave for one example: a row of a random Latin square, uniform over all orders.

    Over as many examples as there are players every unit leaves once at every step, which takes away the part of
    the spread that comes from when a unit leaves.
    """
    block, turn = divmod(place.start + row, players)
    rng = np.random.default_rng([place.seed, place.kind, block, pair])
    names, steps = rng.permutation(players), rng.permutation(players)
    order: npt.NDArray[np.int64] = names[(turn + steps) % players]
    return order


class _Game:
    """One example is one game; a batch plays all of its at once."""

    def __init__(self, batch: Batch, what: Utility, truncate: float) -> None:
        self._batch, self._what, self._truncate = batch, what, truncate
        self._there = torch.from_numpy(batch.there)
        self.players = int(batch.there.sum())
        rows = list(range(batch.place.count))
        self._everything = self._utility(np.ones((len(rows), self.players), bool), rows)
        self._nothing = self._utility(np.zeros((len(rows), self.players), bool), rows)

    def marginals(self, orders: npt.NDArray[np.int64]) -> Array:
        """What each player's leaving costs, (examples, players), along one order for each example."""
        found = np.zeros(orders.shape)
        on = np.ones(orders.shape, bool)
        before = self._everything.copy()
        busy = np.arange(len(orders))
        for step in range(self.players):
            leaving = orders[busy, step]
            on[busy, leaving] = False
            last = step == self.players - 1
            after = self._nothing[busy] if last else self._utility(on[busy], busy.tolist())
            found[busy, leaving] = before[busy] - after
            before[busy] = after
            near = np.abs(after - self._nothing[busy]) <= self._truncate * np.abs(
                self._everything[busy] - self._nothing[busy]
            )
            if self._truncate and not last:
                for row in busy[near]:
                    found[row, orders[row, step + 1 :]] = (before[row] - self._nothing[row]) / (self.players - step - 1)
                busy = busy[~near]
            if not len(busy):
                break
        return found

    def _utility(self, on: np.ndarray, rows: list[int]) -> Array:
        gates = torch.zeros((len(rows), *self._batch.shape))
        gates[:, self._there] = torch.from_numpy(on).float()
        found: Array = self._batch.utility(gates, rows, self._what).double().cpu().numpy()
        return found
