"""Quantities in words, for messages of all floors."""

from __future__ import annotations


def bytes_in_words(count: float) -> str:
    """'812 B', '3.1 MiB', '12 GiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}" if unit != "B" and count < 10 else f"{count:,.0f} {unit}"
