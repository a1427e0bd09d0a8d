"""Stops cancelled jobs: between two passes, or by force."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from backend.store.records import Records
from modelshapley.contracts import Status
from modelshapley.errors import NotFound
from modelshapley.models.confined.process import interrupt_all

log = logging.getLogger(__name__)
CANCEL_POLL_S = 0.5
RUN_GRACE_S = 3.0
"""Time in which a cancelled run or check stops between passes; then its process is killed, which loses warm models."""
DERIVE_GRACE_S = 120.0
"""The same for a derived model, whose steps are longer: saving, and loading in another process."""
INTERRUPT_BEFORE_S = 2.5
"""How long before its end a worker gives up what its confined processes (templates, tokenizers) are asked: a job that
waits for one of them then ends by itself, and the worker stays."""
TRIAL_GRACE_S = 30.0
"""The same for a trial, which no user cancels: a newer one of its session supersedes it many times a minute."""


def grace_of(records: Records, job_id: str) -> float | None:
    """Return how long a job may go on; None while it is wanted, and for work that cannot be cancelled."""
    kind, _, rest = job_id.partition("-")
    identifier = rest.partition("-")[0]
    try:
        if kind == "run" and records.run(identifier).status is Status.CANCELLED:
            return RUN_GRACE_S
        if kind == "derive" and records.derived(identifier).status is Status.CANCELLED:
            return DERIVE_GRACE_S
        if kind == "trial" and records.trial(identifier).status is Status.CANCELLED:
            return TRIAL_GRACE_S
        if kind == "check":
            run = records.run(identifier)
            return RUN_GRACE_S if run.checks is Status.CANCELLED or run.deleted is not None else None
    except NotFound:
        return RUN_GRACE_S
    return None


class Unwanted(Exception):
    """The job was cancelled, or its run deleted."""


class CancelPoll:
    """Whether a job is still wanted, asked from within it between two passes."""

    def __init__(self, records: Records, job_id: str) -> None:
        self._records, self._job_id, self._asked = records, job_id, time.monotonic()

    def look(self) -> None:
        """Raise Unwanted if the job was cancelled; ask the records once in CANCEL_POLL_S: passes may be shorter."""
        if time.monotonic() - self._asked >= CANCEL_POLL_S:
            self._asked = time.monotonic()
            if grace_of(self._records, self._job_id) is not None:
                raise Unwanted


class CancelWatch:
    """Watches the innermost job of a worker from another thread. end: ends this process at once."""

    def __init__(self, records: Records, end: Callable[[], None] | None = None) -> None:
        self._records, self._end = records, end or _kill_this_process
        self._since: dict[str, float] = {}

    def look(self, job_id: str) -> None:
        """End the process if the job was cancelled longer ago than it may take to stop."""
        grace = grace_of(self._records, job_id)
        if grace is None:
            return
        now = time.monotonic()
        since = self._since.setdefault(job_id, now)
        if now - since >= grace - INTERRUPT_BEFORE_S:
            interrupt_all()
        if now - since >= grace:
            log.error("job %s was cancelled %.0f s ago and does not stop; ending this worker", job_id, now - since)
            self._end()

    def forget(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._since.pop(job_id, None)


def _kill_this_process() -> None:
    """End without clean-up, which a job that hangs would block. The supervisor starts another worker."""
    os.kill(os.getpid(), signal.SIGKILL)
