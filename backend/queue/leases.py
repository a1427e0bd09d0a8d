"""Leases of trials and prompts: one that only a page waits for ends once nobody follows its events any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis

LEASE_S = 15
"""Time without a follower after which a leased trial ends; pages reconnect faster, and followers renew every 5 s."""


class Leases:
    """Leases in Redis, each a key that expires. Errors: REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def begin(self, trial_id: str) -> None:
        """Begin the lease of a submitted trial or prompt, whose page will follow it in a moment."""
        self._redis.set(lease_key(trial_id), 1, ex=LEASE_S)

    def held(self, trial_id: str) -> bool:
        return self.count_held([trial_id]) == 1

    def count_held(self, trial_ids: Sequence[str]) -> int:
        """Count those of the trials, of which there is at least one, whose lease is held, by one command."""
        count: Any = self._redis.exists(*map(lease_key, trial_ids))
        return int(count)


def lease_key(trial_id: str) -> str:
    return f"modelshapley:lease:{trial_id}"
