"""Runs that somebody watches: only for these do workers compute the map so far."""

from __future__ import annotations

from redis import Redis

WATCHED_S = 30  # a page asks every few seconds


class WatchedRuns:
    """Watched runs in Redis, each a key that expires. Errors: REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def watch(self, run_id: str) -> None:
        """Note that somebody wants to see the map of a run so far."""
        self._redis.set(f"modelshapley:watched:{run_id}", 1, ex=WATCHED_S)

    def take_turn(self, run_id: str, pause_s: float) -> bool:
        """Return whether to compute the map now: somebody watches, and no worker has begun to in the last `pause_s`."""
        if not self._redis.exists(f"modelshapley:watched:{run_id}"):
            return False
        return bool(self._redis.set(f"modelshapley:partial:{run_id}", 1, nx=True, px=int(1000 * pause_s)))
