"""The end of a worker that was told to stop while Redis is away."""

from __future__ import annotations

import logging
import os
import threading
import time

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from backend.queue.connections import REDIS_DOWN

log = logging.getLogger(__name__)
AWAY_S, POLL_S, TIMEOUT_S = 8.0, 1.0, 2.0


def exit_if_redis_stays_away(connection: Redis) -> None:
    """End this process, from another thread, once Redis has been away for AWAY_S.

    A worker retries for as long as Redis takes to restart, also to say that it stops. If its supervisor was killed, its
    Redis never comes back, and it would stay with its models in memory.
    """
    pool = connection.connection_pool
    options = pool.connection_kwargs | {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_connect_timeout": TIMEOUT_S,
        "socket_timeout": TIMEOUT_S,
    }
    impatient = Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))
    threading.Thread(target=_watch, args=(impatient,), name="stopping", daemon=True).start()


def _watch(redis: Redis) -> None:
    seen = time.monotonic()
    while time.monotonic() - seen < AWAY_S:
        time.sleep(POLL_S)
        try:
            redis.ping()
        except REDIS_DOWN:
            continue
        seen = time.monotonic()
    log.error("told to stop, and Redis has been away for %.0f s; ending", AWAY_S)
    os._exit(1)
