"""Scheduling within a worker: longer work yields to trials between passes, and trials to each other."""

from __future__ import annotations

import time
from typing import Protocol

TRIAL_BURST_S = 2.0
"""Longest time for consecutive trials before the longer work does another pass."""
QUEUE_POLL_S = 0.02
"""Shortest time between queries of the queue: passes may be shorter than a query."""
TURN_S = 0.5
"""Shortest turn of a trial before another session's trial has its turn."""


class Server(Protocol):
    """What a worker can do for waiting trials."""

    def trials_wait(self) -> bool:
        """Return whether a trial waits."""

    def serve_trial(self) -> bool:
        """Measure one waiting trial; return False if there is none."""

    def publish_state(self) -> None:
        """Publish what the worker keeps in memory."""

    def progressed(self) -> None:
        """Note that the current job got further than ever before."""

    def reached(self, stage: str) -> None:
        """Note that the current job has reached a stage."""


class Turns:
    """Turns of the jobs of one worker, which sets `server` when it starts; without a server no trial waits."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self._serving = False
        self._next_poll = 0.0

    def yield_to_trials(self) -> None:
        """Serve waiting trials. Call it between two passes, when nothing hooks the model."""
        if self.server is None or self._serving or time.monotonic() < self._next_poll:
            return
        self._serving = True
        try:
            deadline = time.monotonic() + TRIAL_BURST_S
            while time.monotonic() < deadline and self.server.serve_trial():
                pass
        finally:
            self._serving = False
            self._next_poll = time.monotonic() + QUEUE_POLL_S

    def publish_state(self) -> None:
        """Publish that the worker's memory has changed."""
        if self.server is not None:
            self.server.publish_state()

    def progressed(self) -> None:
        """Note that the current job got further than ever before: what it has done is stored."""
        if self.server is not None:
            self.server.progressed()

    def reached(self, stage: str) -> None:
        """Note that the current job has reached a stage, which leaves nothing stored."""
        if self.server is not None:
            self.server.reached(stage)

    def over(self, began: float) -> bool:
        """Return whether a trial that began its turn at `began` (time.monotonic) should yield to other trials."""
        return time.monotonic() - began >= TURN_S and self.server is not None and self.server.trials_wait()
