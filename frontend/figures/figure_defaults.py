"""Defaults of all figures of the dashboard. The browser adds the colours of text and lines, by theme."""

from __future__ import annotations

from typing import Any

SEE_THROUGH = "rgba(0,0,0,0)"
BASE: dict[str, Any] = {
    "paper_bgcolor": SEE_THROUGH,
    "plot_bgcolor": SEE_THROUGH,
    "font": {"size": 12},
    "showlegend": False,
    "dragmode": False,
}
"""The layout properties that all figures share."""
