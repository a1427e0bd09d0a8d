"""How much of a model has come from the hub: told by the worker that fetches it, kept in Redis for a moment."""

from __future__ import annotations

import logging
import time

from redis import Redis

from backend.queue.queues import REDIS_DOWN
from modelshapley.contracts import Fetching, Run, Status

PROGRESS_TTL_S = 30
EVERY_S = 0.5
log = logging.getLogger(__name__)


class Fetches:
    """Errors of :meth:`seen`: backend.queues.REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._began: dict[str, tuple[float, int]] = {}
        self._told = 0.0

    def publish(self, model_id: str, done: int, total: int) -> None:
        """Any number of times, from any thread; a fetch goes on where Redis is away."""
        now = time.monotonic()
        began, before = self._began.setdefault(model_id, (now, done))
        if now - self._told < EVERY_S and done < total:
            return
        self._told = now
        rate = (done - before) / (now - began) if now > began and done > before else None
        left = (total - done) / rate if rate else None
        fetching = Fetching(done=done, total=total, rate=rate, eta_s=left)
        try:
            if done >= total > 0:
                self._began.pop(model_id, None)
                self._redis.delete(_key(model_id))
            else:
                self._redis.set(_key(model_id), fetching.model_dump_json(), ex=PROGRESS_TTL_S)
        except REDIS_DOWN as error:
            log.warning("how far %s is fetched could not be told: %s", model_id, error)

    def seen(self, run: Run) -> Run:
        """The run, with how much of its model has come while it waits for that."""
        if run.status is not Status.RUNNING or run.progress.total:
            return run
        data: bytes | None = self._redis.get(_key(run.model))  # type: ignore[assignment]  # not asynchronous
        return run if data is None else run.model_copy(update={"fetching": Fetching.model_validate_json(data)})


def _key(model_id: str) -> str:
    return f"modelshapley:fetching:{model_id}"
