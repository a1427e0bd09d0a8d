"""Progress of model downloads from the hub, which the fetching worker stores in Redis for a short time."""

from __future__ import annotations

import logging
import time

from redis import Redis

from backend.queue.connections import REDIS_DOWN
from modelshapley.contracts import Fetching, Run, Status

PROGRESS_TTL_S = 30
PUBLISH_EVERY_S = 0.5
log = logging.getLogger(__name__)


class Fetches:
    """Progress of model downloads. Errors of :meth:`with_progress`: backend.queue.connections.REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._began: dict[str, tuple[float, int]] = {}
        self._published = 0.0

    def publish(self, model_id: str, done: int, total: int) -> None:
        """Publish progress, as often as you like and from any thread; a download goes on while Redis is down."""
        now = time.monotonic()
        began, bytes_before = self._began.setdefault(model_id, (now, done))
        if now - self._published < PUBLISH_EVERY_S and done < total:
            return
        self._published = now
        rate = (done - bytes_before) / (now - began) if now > began and done > bytes_before else None
        left = (total - done) / rate if rate else None
        fetching = Fetching(done=done, total=total, rate=rate, eta_s=left)
        try:
            if done >= total > 0:
                self._began.pop(model_id, None)
                self._redis.delete(_key(model_id))
            else:
                self._redis.set(_key(model_id), fetching.model_dump_json(), ex=PROGRESS_TTL_S)
        except REDIS_DOWN as error:
            log.warning("could not publish the download progress of %s: %s", model_id, error)

    def with_progress(self, run: Run) -> Run:
        """Return the run, with the progress of its model's download if it waits for one."""
        if run.status is not Status.RUNNING or run.progress.total:
            return run
        data: bytes | None = self._redis.get(_key(run.model))  # type: ignore[assignment]  # not asynchronous
        return run if data is None else run.model_copy(update={"fetching": Fetching.model_validate_json(data)})


def _key(model_id: str) -> str:
    return f"modelshapley:fetching:{model_id}"
