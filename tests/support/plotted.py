"""Figures of maps as Plotly is given them: what assets/figure.js does to what the server packs."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def heatmap_traces(figure: dict[str, Any]) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace["type"] == "heatmap"]


def unpacked(spec: dict[str, Any]) -> Array:
    """As assets/figure.js reads what is packed."""
    dtype = np.dtype("<" + spec["type"])
    planes = np.frombuffer(base64.b64decode(spec["data"]), dtype=np.uint8).reshape(dtype.itemsize, -1)
    values: Array = planes.T.copy().view(dtype).reshape(-1, int(spec["columns"]))
    return values


def plotted(figure: dict[str, Any]) -> dict[str, Any]:
    """The figure as Plotly is given it."""
    for trace in heatmap_traces(figure):
        trace["z"] = unpacked(trace["z"])
        trace["customdata"] = np.stack([trace["z"] if p is None else unpacked(p) for p in trace.pop("hover")], -1)
        trace.pop("names", None)
    return figure
