"""Regular expressions of a submission: checked before they are compiled, since compiling alone can take all memory."""

from __future__ import annotations

import re

import regex

MAX_EXPANDED = 10_000
"""Largest number of items in a pattern after its repeats are written out, as the `regex` module does."""
REPEAT = re.compile(r"\{(\d*)(?:,\d*)?\}[?+]?")
MAX_DIGITS = 9
RECURSION = re.compile(r"(?<!\\)\(\?(?:R|[+-]?\d+|&\w+|P>\w+)\)")
"""A group that calls a group: `regex` takes half a gigabyte a second for one that calls itself first."""


def expanded_size(pattern: str) -> int:
    """Return roughly how many items `regex` compiles a pattern to: nested counts `{n}` multiply.

    Only the smaller number of `{n,m}` counts; the rest of a repeat is a loop. Sets and escapes count as one item.
    """
    sizes, last, position = [0], 0, 0
    while position < len(pattern):
        character, step = pattern[position], 1
        repeat = REPEAT.match(pattern, position)
        if repeat:
            digits = repeat[1] or "0"
            times = int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS
            sizes[-1] += last * max(times - 1, 0)
            last, step = last * max(times, 1), len(repeat[0])
        elif character == "(":
            sizes.append(0)
            last = 0
        elif character == ")" and len(sizes) > 1:
            last = sizes.pop() + 1
            sizes[-1] += last
        else:
            step = _item_length(pattern, position)
            last = 1
            sizes[-1] += 1
        position += step
    return sum(sizes)


def _item_length(pattern: str, position: int) -> int:
    """Return the number of characters of the set, escape or character at a position."""
    if pattern[position] == "\\":
        return 2
    if pattern[position] != "[":
        return 1
    end = position + 1
    if pattern[end : end + 1] == "^":
        end += 1
    if pattern[end : end + 1] == "]":
        end += 1
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end + 1 - position


def check_pattern(pattern: str) -> str:
    """Return the pattern. Raises ValueError unless it is a regular expression of a bounded size with a group."""
    if expanded_size(pattern) > MAX_EXPANDED:
        raise ValueError(
            f"pattern {pattern!r} repeats too much: written out it has more than {MAX_EXPANDED:,} items; use smaller "
            "counts in braces, or + and *"
        )
    recursion = RECURSION.search(pattern)
    if recursion:
        raise ValueError(f"pattern {pattern!r} calls a group by {recursion[0]}; write that part out")
    try:
        groups = regex.compile(pattern).groups
    except Exception as error:  # noqa: BLE001  # besides regex.error, its parser raises several kinds for odd patterns
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
    if groups < 1:
        raise ValueError(f"pattern {pattern!r} has no group; put brackets around the answer")
    return pattern
