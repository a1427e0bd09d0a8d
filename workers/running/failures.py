"""Recording of failed jobs."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from backend.queue.connections import REDIS_DOWN
from modelshapley.errors import ModelShapleyError

TOO_MANY_DEATHS: ContextVar[int] = ContextVar("too_many_deaths", default=0)
"""Workers that the current job has taken along without getting further; 0 while it may be tried again."""
log = logging.getLogger(__name__)


@contextmanager
def failures_recorded(record: Callable[[str], object]) -> Iterator[None]:
    """Record a failure as text; the log keeps the traceback. A job that keeps killing its worker fails at once."""
    try:
        _refuse_deadly(TOO_MANY_DEATHS.get())
        yield
    except ModelShapleyError as error:
        log.warning("failed: %s", error)
        record(str(error))
    except REDIS_DOWN:
        # The record stays unfinished, and RQ gives the job to a worker again.
        raise
    except OSError as error:
        log.exception("failed unexpectedly")
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "The disk of the worker is full; free some space, then try again."
        record(reason if full else f"The worker could not read or write a file ({error.strerror}); see its log.")
    except (SystemExit, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a Rust library (tokenizers) is no Exception
        log.exception("failed unexpectedly")
        record(f"The worker met an unexpected {type(error).__name__}; see its log.")


def _refuse_deadly(deaths: int) -> None:
    if deaths:
        raise ModelShapleyError(
            f"Its worker died {deaths} times while it worked on this, so it was given up. The model or the task may "
            "need more memory than the machine has; see the log of the workers."
        )
