"""Seeded orders in which every prefix is a fair sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np


def shuffled(n: int, seed: int) -> list[int]:
    """Return 0..n-1 in an order drawn from `seed`."""
    return [int(i) for i in np.random.default_rng(seed).permutation(n)]


def stratified(strata: Sequence[Hashable], seed: int) -> list[int]:
    """Return the indices of `strata` in a seeded order whose every prefix holds each stratum in about its share.

    The members of a stratum of size m, shuffled, are spread evenly: the k-th stands at (k + u) / m of the
    way, with one u drawn for each stratum so that small strata do not all come at once.
    """
    rng = np.random.default_rng(seed)
    members: dict[Hashable, list[int]] = {}
    for index, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(index)
    placed: list[tuple[float, int]] = []
    for stratum in sorted(members, key=str):
        indices = rng.permutation(members[stratum])
        start = rng.random()
        placed += [((k + start) / len(indices), int(index)) for k, index in enumerate(indices)]
    return [index for _, index in sorted(placed)]


def first_share(strata: Sequence[Hashable], order: Sequence[int], share: float) -> list[int]:
    """Return the first `share` of `order`, overall and of each stratum, rounded up or down; at least one in all.

    A plain prefix may be off by more than one in a stratum. The strata with the largest remainders are rounded up.
    """
    sizes = Counter(strata[index] for index in order)
    remaining = {stratum: int(share * size + 1e-9) for stratum, size in sizes.items()}
    shortfall = max(1, round(share * len(order))) - sum(remaining.values())
    for stratum in sorted(sizes, key=lambda s: remaining[s] - share * sizes[s])[:shortfall]:
        remaining[stratum] += 1
    chosen = []
    for index in order:
        if remaining[strata[index]] > 0:
            remaining[strata[index]] -= 1
            chosen.append(index)
    return chosen
