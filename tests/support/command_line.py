"""The command line as a process of its own, forked so that it need not import torch again."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.fork_server import fork_server


def run(*arguments: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`modelshapley ...` in the folder `cwd`."""
    return fork_server().run("modelshapley.cli", *arguments, cwd=cwd, timeout=timeout)
