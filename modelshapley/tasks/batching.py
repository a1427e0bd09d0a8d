"""Which examples go through a model together: of like length, and no more tokens than one pass should have."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

WINDOW = 8  # batches, among whose examples those of like length are put together


def reach(sizes: Sequence[int], start: int, most: int, tokens: int) -> int:
    """Where the batch of neighbours that begins at `start` ends.

    It has at most `most` examples, and, padded to its longest, at most `tokens` tokens; at least one example.
    """
    longest = 0
    for place in range(start, min(start + most, len(sizes))):
        longest = max(longest, sizes[place])
        if place > start and (place + 1 - start) * longest > tokens:
            return place
    return min(start + most, len(sizes))


def cuts(sizes: Sequence[int], most: int, tokens: int) -> list[int]:
    """Where batches of neighbours start, and behind the last one the end."""
    found = [0]
    while found[-1] < len(sizes):
        found.append(reach(sizes, found[-1], most, tokens))
    return found


def together(sizes: Sequence[int], most: int) -> list[int]:
    """The places 0, 1, ... in an order in which neighbours are of like size.

    Sorted within stretches of WINDOW batches, so that every such stretch keeps the examples that it had: an order
    of which every prefix was a fair sample stays one, up to the length of a stretch. Equal sizes keep their order.
    """
    stretch = WINDOW * most
    return [
        place
        for start in range(0, len(sizes), stretch)
        for place in sorted(range(start, min(start + stretch, len(sizes))), key=lambda i: sizes[i])
    ]


def groups(sizes: Sequence[int], most: int, tokens: int) -> list[list[int]]:
    """All places in batches of like size, for work whose order does not matter; longest first.

    Longest first, so that memory that is short shows at once.
    """
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    edges = cuts([sizes[i] for i in order], most, tokens)
    return [order[start:stop] for start, stop in pairwise(edges)]
