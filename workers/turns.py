"""How jobs of a worker take turns: trials come in between the passes of longer work, and each other's chunks."""

from __future__ import annotations

import time
from typing import Protocol

TRIAL_BURST_S = 2.0
"""Trials in a row come in for so long before the longer work does another pass."""
QUEUE_POLL_S = 0.02
"""Passes may be shorter than it takes to ask Redis what waits: that is done no more often than this."""
TURN_S = 0.5
"""A trial is measured for at least so long before another person's trial has its turn."""


class Server(Protocol):
    """What a worker can do about trials that wait."""

    def trials_wait(self) -> bool: ...

    def serve_trial(self) -> bool:
        """Do one trial that waits; False where there is none."""

    def publish_state(self) -> None:
        """Tell the world what the worker keeps now."""


class Turns:
    """Of one worker, which sets `server` as it starts; without one nothing else waits."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self._inside = False
        self._next = 0.0

    def yield_to_trials(self) -> None:
        """Let trials that wait come in. To be called between two passes, where nothing hooks the model."""
        if self.server is None or self._inside or time.monotonic() < self._next:
            return
        self._inside = True
        try:
            until = time.monotonic() + TRIAL_BURST_S
            while time.monotonic() < until and self.server.serve_trial():
                pass
        finally:
            self._inside = False
            self._next = time.monotonic() + QUEUE_POLL_S

    def publish_state(self) -> None:
        """What the worker keeps has changed."""
        if self.server is not None:
            self.server.publish_state()

    def over(self, began: float) -> bool:
        """Whether a trial that began its turn then, by time.monotonic, should put itself behind the others."""
        return time.monotonic() - began >= TURN_S and self.server is not None and self.server.trials_wait()
