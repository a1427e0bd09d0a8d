"""The local Chromium, without its own network traffic; for benchmarks and tests."""

from __future__ import annotations

import shutil

# The headless shell draws the same in three quarters of the CPU time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
QUIET_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Return its path; None if it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)
