"""Start child processes that end with us."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

PR_SET_PDEATHSIG = 1


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own: Ctrl-C in the terminal reaches us alone, and we stop it in order.

    On Linux it is also asked to end when we are killed; a Redis left behind would share its file with the next.
    """
    tie = _end_with_parent if sys.platform == "linux" else None
    process: subprocess.Popen[bytes] = subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=tie,
        **options,
    )
    return process


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
