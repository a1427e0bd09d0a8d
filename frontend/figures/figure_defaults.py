"""What all figures of the dashboard have in common; colours of letters and lines come in the browser."""

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
"""The beginning of a figure's layout."""
