"""Shapley values by definition: average marginal utility over random permutations of the players.

Forward passes only, no approximation but sampling: the truth that other methods are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

Array = npt.NDArray[np.float64]
Walk = Callable[[Sequence[int]], Iterable[float]]


@dataclass(frozen=True)
class Estimate:
    """Sampled Shapley values. pairs: (antithetic pairs, players), each row an unbiased estimate unless truncated.

    Rows of several shards or sittings are simply put together. They are independent, or (:func:`spread_order`)
    spread more evenly than that, and then the values are better than their standard errors say.
    """

    pairs: Array

    @property
    def values(self) -> Array:
        values: Array = self.pairs.mean(0)
        return values

    @property
    def standard_errors(self) -> Array:
        """Of the values; infinite for a single pair."""
        if len(self.pairs) < 2:
            return np.full(self.pairs.shape[1], np.inf)
        errors: Array = self.pairs.std(0, ddof=1) / np.sqrt(len(self.pairs))
        return errors

    def split_half(self, splits: int = 50, seed: int = 0) -> float:
        """Mean Spearman correlation between the values of random halves of the pairs; nan for fewer than 2."""
        if len(self.pairs) < 2:
            return float("nan")
        rng = np.random.default_rng(seed)
        found = []
        for _ in range(splits):
            order = rng.permutation(len(self.pairs))
            half = len(order) // 2
            found.append(
                spearmanr(self.pairs[order[:half]].mean(0), self.pairs[order[half : 2 * half]].mean(0)).statistic
            )
        return float(np.mean(found))

    def reliability(self) -> float:
        """Of all the pairs together: the split-half correlation stepped up to full length (Spearman and Brown)."""
        return stepped_up(self.split_half())


def stepped_up(half: float) -> float:
    """Reliability of a whole sample from the correlation of its halves (Spearman and Brown 1910)."""
    return 2 * half / (1 + half)


def spread_order(players: int, number: int, seed: int = 0, strata: int = 6) -> list[int]:
    """Permutation `number` of a sequence, each uniform, in which every player's places are spread evenly.

    `strata` of them in a row are one random permutation turned by equal shares of its length, so that every player
    stands once in each stratum of places.
    """
    group, turn = divmod(number, strata)
    order = np.random.default_rng([seed, group]).permutation(players)
    return [int(player) for player in np.roll(order, turn * players // strata)]


def antithetic_pair(walk: Walk, order: Sequence[int], empty: float, truncation: float = 0.0) -> Array:
    """Marginal utilities of every player, averaged over one permutation and its reverse.

    walk: gives the utilities with everything on, then after each player of the order has left. empty: utility
    with every player off. truncation: once a walk's utility is within this share of the whole game's range from
    `empty`, it ends, and the players still on share what is left evenly; 0 walks to the end and is unbiased.
    The values sum to U(all) - U(none), truncated or not.
    """
    both = [_marginals(walk, way, empty, truncation) for way in (list(order), list(reversed(order)))]
    result: Array = np.mean(both, axis=0)
    return result


def _marginals(walk: Walk, order: Sequence[int], empty: float, truncation: float) -> Array:
    marginals = np.zeros(len(order))
    utilities = iter(walk(order))
    before = everything = next(utilities)
    for place, (player, after) in enumerate(zip(order, utilities, strict=True)):
        marginals[player] = before - after
        before = after
        left = order[place + 1 :]
        if left and abs(after - empty) <= truncation * abs(everything - empty):
            marginals[list(left)] = (after - empty) / len(left)
            break
    return marginals
