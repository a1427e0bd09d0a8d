"""Shapley values by definition: average marginal utility over random permutations of the players.

Forward passes only, with no approximation but sampling: the reference that other methods are compared with.
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

    Rows of several shards or sessions can simply be concatenated. They are independent or, with :func:`spread_order`,
    more evenly spread, which makes the values more precise than their standard errors say.
    """

    pairs: Array

    @property
    def values(self) -> Array:
        values: Array = self.pairs.mean(0)
        return values

    @property
    def standard_errors(self) -> Array:
        """Standard errors of the values; infinite for a single pair."""
        if len(self.pairs) < 2:
            return np.full(self.pairs.shape[1], np.inf)
        errors: Array = self.pairs.std(0, ddof=1) / np.sqrt(len(self.pairs))
        return errors

    def split_half(self, splits: int = 50, seed: int = 0) -> float:
        """Return the mean Spearman correlation between the values of random halves of the pairs; nan for fewer than
        2.
        """
        if len(self.pairs) < 2:
            return float("nan")
        rng = np.random.default_rng(seed)
        correlations = []
        for _ in range(splits):
            order = rng.permutation(len(self.pairs))
            half = len(order) // 2
            correlations.append(
                spearmanr(self.pairs[order[:half]].mean(0), self.pairs[order[half : 2 * half]].mean(0)).statistic
            )
        return float(np.mean(correlations))

    def reliability(self) -> float:
        """Return the reliability of all pairs: the split-half correlation at full length (Spearman and Brown)."""
        return stepped_up(self.split_half())


def stepped_up(half: float) -> float:
    """Return the reliability of a whole sample from the correlation of its halves (Spearman and Brown 1910)."""
    return 2 * half / (1 + half)


def spread_order(players: int, number: int, seed: int = 0, strata: int = 6) -> list[int]:
    """Return permutation `number` of a sequence, each uniform, in which every player's places are spread evenly.

    Each run of `strata` permutations is one random permutation rotated by equal shares of its length, so that every
    player comes once in each stratum of places.
    """
    group, turn = divmod(number, strata)
    order = np.random.default_rng([seed, group]).permutation(players)
    return [int(player) for player in np.roll(order, turn * players // strata)]


def antithetic_pair(walk: Walk, order: Sequence[int], empty: float, truncation: float = 0.0) -> Array:
    """Return the marginal utilities of every player, averaged over one permutation and its reverse.

    walk: yields the utilities with everything on, then after each player of the order has left. empty: utility
    with every player off. truncation: once a walk's utility is within this share of the whole game's range from
    `empty`, it ends, and the players still on share the remainder evenly; 0 walks to the end and is unbiased.
    The values sum to U(all) - U(none), truncated or not.
    """
    marginals = [_marginals(walk, direction, empty, truncation) for direction in (list(order), list(reversed(order)))]
    result: Array = np.mean(marginals, axis=0)
    return result


def _marginals(walk: Walk, order: Sequence[int], empty: float, truncation: float) -> Array:
    marginals = np.zeros(len(order))
    utilities = iter(walk(order))
    previous = full = next(utilities)
    for place, (player, current) in enumerate(zip(order, utilities, strict=True)):
        marginals[player] = previous - current
        previous = current
        remaining = order[place + 1 :]
        if remaining and abs(current - empty) <= truncation * abs(full - empty):
            marginals[list(remaining)] = (current - empty) / len(remaining)
            break
    return marginals
