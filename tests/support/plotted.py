"""Figures of maps as Plotly is given them: what assets/figure.js does to what the server packs."""

from __future__ import annotations

import base64

import numpy as np


def heatmap_traces(figure: dict) -> list[dict]:
    return [trace for trace in figure["data"] if trace["type"] == "heatmap"]


def unpacked(spec: dict) -> np.ndarray:
    """As assets/figure.js reads what is packed."""
    dtype = np.dtype("<" + spec["type"])
    planes = np.frombuffer(base64.b64decode(spec["data"]), dtype=np.uint8).reshape(dtype.itemsize, -1)
    return planes.T.copy().view(dtype).reshape(-1, int(spec["columns"]))


def plotted(figure: dict) -> dict:
    """The figure as Plotly is given it."""
    for trace in heatmap_traces(figure):
        trace["z"] = unpacked(trace["z"])
        trace["customdata"] = np.stack([trace["z"] if p is None else unpacked(p) for p in trace.pop("hover")], -1)
        trace.pop("names", None)
    return figure
