"""Counters and histograms that all processes add to, in one Redis hash; the web server shows them to Prometheus.

Their number is fixed: labels are statuses and kinds of queues, never names or ids. They start again from 0 if Redis is
wiped, as Prometheus expects of counters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq.utils import as_text

KEY = "modelshapley:metrics"
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
INFINITE = "+Inf"
RUNS_ENDED, TRIALS_ENDED, WORKERS_LOST = "runs_ended", "trials_ended", "workers_lost"
WAITED, PASS = "job_waiting", "pass"


class Metrics:
    """Adds to the hash, and reads it. Errors: REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        self._redis.hincrby(KEY, f"{name}|{label}", by)

    def observe(self, name: str, values: Sequence[float], label: str = "") -> None:
        """Add values, in seconds, to a histogram."""
        if not values:
            return
        with self._redis.pipeline(transaction=False) as pipeline:
            for value in values:
                _add(pipeline, f"{name}|{label}", value)
            pipeline.execute()

    def read(self) -> Mapping[str, float]:
        stored: Any = self._redis.hgetall(KEY)
        return {as_text(field): float(value) for field, value in stored.items()}


def _add(pipeline: Pipeline, field: str, value: float) -> None:
    place = bisect_left(BUCKETS, value)
    pipeline.hincrby(KEY, f"{field}|{BUCKETS[place] if place < len(BUCKETS) else INFINITE}", 1)
    pipeline.hincrbyfloat(KEY, f"{field}|sum", value)


def histogram_of(stored: Mapping[str, float], name: str, label: str = "") -> tuple[list[tuple[str, float]], float]:
    """Return the cumulative buckets of a histogram, and the sum of its values."""
    field, total, buckets = f"{name}|{label}", 0.0, []
    for bound in (*BUCKETS, INFINITE):
        total += stored.get(f"{field}|{bound}", 0.0)
        buckets.append((str(bound), total))
    return buckets, stored.get(f"{field}|sum", 0.0)
