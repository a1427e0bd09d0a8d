"""Connections to Redis: of the API, of workers, of the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as RedisRetry

REDIS_DOWN = (RedisConnectionError, RedisTimeoutError)
MAX_STREAMS = 400  # event streams of one web server
# Only workers retry this long: behind the API, a user is waiting.
PATIENT_RETRY = RedisRetry(ExponentialBackoff(cap=2.0, base=0.1), retries=60)


def connect(url: str) -> Redis:
    """Connect for the API: one quick retry, then an error."""
    return Redis.from_url(
        url,
        socket_connect_timeout=2,
        socket_timeout=5,
        retry=RedisRetry(NoBackoff(), 1),
        health_check_interval=10,
    )


def connect_patiently(url: str) -> Redis:
    """Connect for workers: retries for about two minutes, as long as a restart of Redis takes."""
    return Redis.from_url(url, retry=PATIENT_RETRY, retry_on_error=list(REDIS_DOWN), health_check_interval=10)


def connect_async(url: str) -> AsyncRedis:
    """Connect for code on the event loop."""
    return AsyncRedis.from_url(
        url,
        socket_connect_timeout=2,
        socket_timeout=20,
        retry=AsyncRetry(NoBackoff(), 1),
        decode_responses=True,
        max_connections=MAX_STREAMS + 20,  # each event stream waits on a connection of its own
    )


@contextmanager
def undo_if_redis_is_down(undo: Callable[[], object]) -> Iterator[None]:
    """Enqueue in this block; if Redis is down, `undo` the record of the work, and re-raise."""
    try:
        yield
    except REDIS_DOWN:
        undo()
        raise
