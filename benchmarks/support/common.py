"""Shared code of the benchmarks: medians, and a report with the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

DATA = Path(".data")


def median_s(work: Callable[[], object], rounds: int) -> float:
    """Return the median wall time of `rounds` calls, after one warm-up call."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def report(results: dict[str, Any]) -> None:
    """Print the results with the machine, as one line of JSON."""
    machine = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    print(json.dumps(results | {"torch": torch.__version__, **machine}))
