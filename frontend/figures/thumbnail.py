"""Thumbnails of maps, for the list of runs. Pure."""

from __future__ import annotations

from math import isfinite
from urllib.parse import quote

from frontend.figures.panels import colour_range, pooled_panel
from modelshapley.contracts import MapData


def thumbnail(data: MapData) -> str:
    """Draw a map as an SVG data address of at most about 150 x 120 px; stronger colour is more important."""
    scores = pooled_panel(data, columns=32).scores
    _, high, _ = colour_range(scores, data.signed)
    layers, columns = scores.shape
    width, height = (max(3, min(24, space // count)) for space, count in ((150, columns), (120, layers)))
    cells = "".join(
        f'<rect x="{c * width}" y="{r * height}" width="{width - 1}" height="{height - 1}" '
        f'fill="#3b82d6" fill-opacity="{0.07 + 0.93 * min(1.0, abs(scores[r, c]) / high):.2f}"/>'
        for r in range(layers)
        for c in range(columns)
        if isfinite(scores[r, c])
    )
    size = f'width="{columns * width}" height="{layers * height}"'
    return "data:image/svg+xml," + quote(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{cells}</svg>')
