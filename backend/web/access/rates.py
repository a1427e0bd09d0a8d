"""How much a key may ask for: requests a minute, counted in Redis, and open work, counted in the records."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from fastapi import HTTPException
from redis import Redis

from backend.queue.connections import REDIS_DOWN
from backend.web.access.callers import Identity
from backend.web.dependencies import Services
from modelshapley.contracts import Key

WINDOW_S = 60
QUEUE_RETRY_S = 10
log = logging.getLogger(__name__)


def seconds_to_wait(redis: Redis, key: Key, default_limit: int) -> int | None:
    """Count a request of a key; return how long to wait if it had too many in this minute, else None.

    Every web server counts in the same Redis. While that does not respond nothing is limited, since everything that
    costs more than a look at the records needs it, too.
    """
    window, passed = divmod(time.time(), WINDOW_S)
    counter = f"modelshapley:requests:{key.id}:{int(window)}"
    try:
        with redis.pipeline() as pipeline:
            pipeline.incr(counter)
            pipeline.expire(counter, 2 * WINDOW_S)
            count: Any = pipeline.execute()[0]
    except REDIS_DOWN as error:
        log.warning("requests are not counted, Redis does not respond: %s", error)
        return None
    return math.ceil(WINDOW_S - passed) if int(count) > (key.requests_per_minute or default_limit) else None


def refuse_too_much_work(services: Services, identity: Identity) -> None:
    """Raise HTTPException 429 if the caller's key has as much open work as it may."""
    if identity.key is None:
        return
    limit = identity.key.max_queued or services.settings.max_queued
    queued = services.records.queued_of(identity.key.name) + services.prompts.open_of(identity.key.name)
    if queued >= limit:
        raise HTTPException(
            429,
            f"Key {identity.key.name!r} has {queued:,} runs, checks, trials and prompts open, and may have {limit:,}; "
            "wait for some, or cancel some.",
            headers={"Retry-After": str(QUEUE_RETRY_S)},
        )
