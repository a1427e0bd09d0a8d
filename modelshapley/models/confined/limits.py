"""Limits that a confined process sets itself."""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any


def answer_requests(answer: Callable[[dict[str, Any]], dict[str, Any]], max_memory: int) -> None:
    """Answer each line of the input within its own limits of time, and `max_memory` bytes. answer: raises nothing.

    The timer ends this process by its signal even if nobody waits for it any more, and whatever code is running.
    """
    resource.setrlimit(resource.RLIMIT_AS, (max_memory, max_memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", flush=True)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
        sys.stdout.buffer.write(json.dumps(answer(request)).encode() + b"\n")
        sys.stdout.buffer.flush()
