"""Batches of examples of similar length, within the number of tokens that one pass should have."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

WINDOW = 8  # batches whose examples are sorted by length together: more pads less, but delays the fair sample


def batch_end(sizes: Sequence[int], start: int, max_examples: int, max_tokens: int) -> int:
    """Return the end of the batch of neighbours that begins at `start`.

    It has at most `max_examples` examples and, padded to its longest, at most `max_tokens` tokens; at least one
    example.
    """
    longest = 0
    for position in range(start, min(start + max_examples, len(sizes))):
        longest = max(longest, sizes[position])
        if position > start and (position + 1 - start) * longest > max_tokens:
            return position
    return min(start + max_examples, len(sizes))


def batch_edges(sizes: Sequence[int], max_examples: int, max_tokens: int) -> list[int]:
    """Return the starts of the batches of neighbours, and the end of the last one."""
    edges = [0]
    while edges[-1] < len(sizes):
        edges.append(batch_end(sizes, edges[-1], max_examples, max_tokens))
    return edges


def order_by_length(sizes: Sequence[int], max_examples: int) -> list[int]:
    """Return the positions 0, 1, ... in an order in which neighbours have similar sizes.

    They are sorted within stretches of WINDOW batches, so that every stretch keeps its examples: an order of which
    every prefix is a fair sample stays one, up to the length of a stretch. Equal sizes keep their order.
    """
    stretch = WINDOW * max_examples
    return [
        position
        for start in range(0, len(sizes), stretch)
        for position in sorted(range(start, min(start + stretch, len(sizes))), key=lambda i: sizes[i])
    ]


def length_batches(sizes: Sequence[int], max_examples: int, max_tokens: int) -> list[list[int]]:
    """Return all positions in batches of similar size, for work whose order does not matter; longest first.

    The longest come first so that a shortage of memory shows at once.
    """
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    edges = batch_edges([sizes[i] for i in order], max_examples, max_tokens)
    return [order[start:stop] for start, stop in pairwise(edges)]
