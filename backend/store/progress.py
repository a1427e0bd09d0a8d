"""How long a run still takes, from what its shards tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from backend.store.tables import ShardRow

SILENT = timedelta(seconds=60)
"""A shard that has told nothing for so long counts as nobody's until it tells again."""


def pace(left: int, seconds: float | None) -> float | None:
    """Examples a second, at which `left` of them take so many seconds; None where that tells nothing."""
    return round(left / seconds, 2) if seconds and left else None


def seconds_left(shards: Sequence[ShardRow], total: int, now: datetime) -> float | None:
    """Seconds until all `total` examples are done at the pace of the shards in hand; None while nobody knows one.

    Not sooner than the slowest shard in hand: the others cannot help it.
    """
    left = total - sum(shard.done for shard in shards)
    if left == 0:
        return 0.0
    paces = {s.number: s.rate for s in shards if s.rate and s.done < s.size and now - s.told <= SILENT}
    if not paces:
        return None
    slowest = max((s.size - s.done) / paces[s.number] for s in shards if s.number in paces)
    return round(max(left / sum(paces.values()), slowest), 1)
