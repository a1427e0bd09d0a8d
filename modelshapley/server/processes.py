"""Child processes that end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


OWNER_ONLY = 0o077
"""Mask of the permissions of new files: records, maps and uploads are for the user who runs the server alone."""


def keep_files_private(data: Path | None = None) -> None:
    """Let only the owner read and write the files that this process and its children create.

    data: a data directory, which is closed to others with all that older versions left readable in it.
    """
    os.umask(OWNER_ONLY)
    if data is not None and data.is_dir() and data.stat().st_uid == os.getuid():
        data.chmod(data.stat().st_mode & ~OWNER_ONLY)


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `command` in its own session: Ctrl-C reaches only the parent, which stops its children in order.

    On Linux the child also ends when the parent is killed, since an orphaned Redis would share its file with the next.
    """
    preexec = _end_with_parent if sys.platform == "linux" else None
    process: subprocess.Popen[bytes] = subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=preexec,
        **options,
    )
    return process


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
