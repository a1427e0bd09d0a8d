"""Limits of uploaded data, and the refusal that names what is wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MAX_COLUMNS = 1000
MAX_LINE_BYTES = 16 * 2**20  # of a csv or jsonl file
MAX_NAMED = 5  # rows or members that one refusal names
PROGRESS_S = 0.2
Progress = Callable[[float], None]


class Refused(Exception):
    """The data cannot be used; the message is a sentence for the user."""


@dataclass(frozen=True)
class DataLimits:
    """Limits of one upload. max_bytes: also of what a zip or parquet file unpacks to. max_rows: rows or pictures."""

    max_bytes: int
    max_rows: int

    def check_rows(self, name: str, count: int) -> None:
        """Raise Refused for more rows than are taken."""
        if count > self.max_rows:
            raise Refused(
                f"{name} has more than {self.max_rows:,} rows (MODELSHAPLEY_MAX_DATA_ROWS); upload a sample of it."
            )

    def check_bytes(self, name: str, count: int) -> None:
        """Raise Refused for more unpacked bytes than are taken."""
        if count > self.max_bytes:
            raise Refused(
                f"{name} unpacks to more than {self.max_bytes:,} bytes (MODELSHAPLEY_MAX_DATA_BYTES); upload a "
                "sample of it."
            )


def progress_to(file: Path) -> Progress:
    """Return a function that writes a share into a file at most five times a second, and whole or not at all.

    It raises FileNotFoundError once the folder of the file is gone, which ends the work of a discarded upload.
    """
    written = 0.0

    def progress(share: float) -> None:
        nonlocal written
        if time.monotonic() - written >= PROGRESS_S:
            written = time.monotonic()
            part = file.with_suffix(".part")
            part.write_text(f"{share:.4f}")
            os.replace(part, file)

    return progress


def listed(names: list[str]) -> str:
    """Join the first few names, and say how many there are besides."""
    rest = len(names) - MAX_NAMED
    return f"{', '.join(names[:MAX_NAMED])}{f' and {rest:,} more' if rest > 0 else ''}"
