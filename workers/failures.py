"""Recording of failed jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backend.queue.queues import REDIS_DOWN
from modelshapley.errors import ModelShapleyError

log = logging.getLogger(__name__)


@contextmanager
def failures_recorded(record: Callable[[str], object]) -> Iterator[None]:
    """Record a failure as text; the log keeps the traceback."""
    try:
        yield
    except ModelShapleyError as error:
        log.warning("failed: %s", error)
        record(str(error))
    except REDIS_DOWN:
        # The record stays unfinished, and RQ gives the job to a worker again.
        raise
    except Exception as error:
        log.exception("failed unexpectedly")
        record(f"The worker met an unexpected {type(error).__name__}; see its log.")
