"""The order of test files: those that wait for servers and browsers beside those that compute.

With `--dist loadfile`, processes take whole files in the order of collection. If files that wait lay together, all
processes would wait at once and then compute at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import pytest

SERVERS = {"server", "start_server", "api", "house"}


def interleaved(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return `items` in their order within each file, with files that use a server spread evenly over the others."""
    files = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
    kinds: dict[bool, list[list[pytest.Item]]] = {True: [], False: []}
    for file in files:
        kinds[any(SERVERS & set(getattr(item, "fixturenames", ())) for item in file)].append(file)
    placed: list[tuple[float, Path, list[pytest.Item]]] = []
    for group in kinds.values():
        total, before = sum(map(len, group)), 0
        for file in sorted(group, key=len, reverse=True):
            placed.append((before / total, file[0].path, file))
            before += len(file)
    return [item for _, _, file in sorted(placed, key=lambda entry: entry[:2]) for item in file]
