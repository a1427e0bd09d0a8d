"""The order of test files: those that wait for servers and browsers beside those that compute, the longest first.

With `--dist loadfile`, processes take whole files in the order of collection. If files that wait lay together, all
processes would wait at once and then compute at once. A long file at the end would leave the other processes idle.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

SERVERS = {"server", "start_server", "api", "house"}
SLOW_S, BROWSER_S, SERVER_S, OTHER_S = 20.0, 8.0, 2.0, 0.3
"""What a test takes, about: medians of their kinds on two cores of 2 GHz."""


def interleaved(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return `items` in their order within each file, with files that use a server spread evenly over the others."""
    by_path: dict[Path, list[pytest.Item]] = {}
    for item in items:  # pytest has taken the tests of a browser together, out of their files
        by_path.setdefault(item.path, []).append(item)
    kinds: dict[bool, list[list[pytest.Item]]] = {True: [], False: []}
    for file in by_path.values():
        kinds[any(SERVERS & _fixtures(item) for item in file)].append(file)
    placed: list[tuple[float, Path, list[pytest.Item]]] = []
    for group in kinds.values():
        total, before = sum(map(_seconds, group)), 0.0
        for file in sorted(group, key=_seconds, reverse=True):
            placed.append((before / total, file[0].path, file))
            before += _seconds(file)
    return [item for _, _, file in sorted(placed, key=lambda entry: entry[:2]) for item in file]


def _seconds(file: Iterable[pytest.Item]) -> float:
    """About how long the tests of a file take."""
    return sum(map(_seconds_of, file))


def _seconds_of(item: pytest.Item) -> float:
    if item.get_closest_marker("slow") is not None:
        return SLOW_S
    fixtures = _fixtures(item)
    return BROWSER_S if "page" in fixtures else SERVER_S if SERVERS & fixtures else OTHER_S


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))
