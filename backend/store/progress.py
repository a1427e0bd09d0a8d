"""Remaining time of a run, from the reports of its shards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from backend.store.tables import ShardRow

STALE_AFTER = timedelta(seconds=60)
"""Time without a report after which a shard counts as not running."""


def pace(left: int, seconds: float | None) -> float | None:
    """Return the examples a second at which `left` of them take so many seconds; None if it is undefined."""
    return round(left / seconds, 2) if seconds and left else None


def seconds_left(shards: Sequence[ShardRow], total: int, now: datetime) -> float | None:
    """Return the seconds until all `total` examples are done at the pace of the running shards; None if it is unknown.

    It is at least the time of the slowest running shard, since other workers cannot take over its examples.
    """
    left = total - sum(shard.done for shard in shards)
    if left == 0:
        return 0.0
    paces = {s.number: s.rate for s in shards if s.rate and s.done < s.size and now - s.told <= STALE_AFTER}
    if not paces:
        return None
    slowest = max((s.size - s.done) / paces[s.number] for s in shards if s.number in paces)
    return round(max(left / sum(paces.values()), slowest), 1)
