"""`GET /runs/{run_id}/figure`: the figure of the map page, fetched by assets/map-figure.js.

Not a Dash callback: the browser can fetch it before Dash has built the page, and cache it.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections import OrderedDict
from hashlib import sha256
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response

from frontend import address, display
from frontend.address import View, parse, resolve
from frontend.figures import heatmaps
from frontend.map_cache import MapCache
from frontend.responses import refused
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, Status
from modelshapley.errors import Conflict, ModelShapleyError
from modelshapley.units import UnitKind

STARTED = secrets.token_hex(8)
"""Identifies this process in ETags, so that figures of another one, maybe of another version, are fetched again."""
CAPACITY = 32
WINDOW = re.compile(r"([a-z]{1,20}):(\d{1,9})-(\d{1,9})", re.ASCII)


class FigureCache:
    """The figures drawn last, as JSON, and their colour ranges, which zoomed cells share."""

    def __init__(self, maps: MapCache) -> None:
        self._maps = maps
        self._figures: OrderedDict[tuple[str, View], bytes] = OrderedDict()
        self._limits: OrderedDict[tuple[str, View, UnitKind], tuple[float, float]] = OrderedDict()

    async def figure(self, run: Run, view: View) -> bytes:
        """Return the whole figure. Raises ModelShapleyError."""
        assert view.method is not None
        key = (run.id, view)
        if key not in self._figures:
            planes = {kind: await self._maps.get(run.id, view.method, kind, view.label) for kind in run.units}
            # In a thread, since ranking millions of units would block other people's requests.
            figure = await asyncio.to_thread(heatmaps.map_figure, planes, run.layout, view.display)
            of = {"method": view.method, "look": display.write(view.display), "class": view.label or ""}
            _keep(self._figures, key, json.dumps({"of": of, "figure": figure}).encode())
        return self._figures[key]

    async def zoomed(self, run: Run, view: View, kind: UnitKind, start: int, stop: int) -> bytes:
        """Return the cells of a part of a panel. Raises ModelShapleyError."""
        assert view.method is not None
        plane = await self._maps.get(run.id, view.method, kind, view.label)
        key = (run.id, view, kind)
        if key not in self._limits:
            _keep(self._limits, key, await asyncio.to_thread(heatmaps.limits, plane, view.display))
        width = plane.scores.shape[1]
        first = max(0, min(width - 1, start))
        window = (first, max(first + 1, min(width, stop)))
        cells = await asyncio.to_thread(heatmaps.window_of, plane, window, view.display, self._limits[key])
        return json.dumps(cells).encode()


def register(root: FastAPI, api: AsyncClient, maps: MapCache) -> None:
    """Add the route. This must come before Dash, whose own route matches every other address."""
    figures = FigureCache(maps)

    @root.get("/runs/{run_id}/figure")
    async def _figure(run_id: str, request: Request, window: str | None = None, early: bool = False) -> Response:
        """Answer with a figure. The query is that of the page's own address. window: 'neuron:100-400', for its cells.

        early: requested before the page knows whether there is a map; then a missing map is not an error.
        """
        if address.run_of(f"/runs/{run_id}") is None:
            raise HTTPException(404, f"There is no run {run_id[:64]!r}.")
        try:
            run = await api.send(client.run(run_id))
            if run.status is not Status.DONE or run.deleted is not None:
                raise Conflict(f"Run {run_id} has no map: it is {_state(run)}.")
            view = resolve(run, parse(request.url.query))
            tag = _tag(run_id, view, window)
            headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers=headers)
            content = (
                await figures.figure(run, view)
                if window is None
                else await figures.zoomed(run, view, *_window(window, run))
            )
        except ModelShapleyError as error:
            if early:
                return Response(status_code=204)
            raise refused(error) from error
        return Response(content, media_type="application/json", headers=headers)


def _tag(run_id: str, view: View, window: str | None) -> str:
    """Return the figure's ETag; a weak one, since answers are compressed on the way."""
    return f'W/"{sha256(repr((STARTED, run_id, view, window)).encode()).hexdigest()[:32]}"'


def _window(text: str, run: Run) -> tuple[UnitKind, int, int]:
    match = WINDOW.fullmatch(text)
    kind = next((kind for kind in run.units if match and kind.value == match[1]), None)
    if match is None or kind is None:
        raise HTTPException(422, f"{text[:60]!r} is not a part of this map. An example of one: neuron:100-400.")
    return kind, int(match[2]), int(match[3])


def _state(run: Run) -> str:
    return "deleted" if run.deleted is not None else run.status.value


def _keep(cache: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    cache[key] = value
    while len(cache) > CAPACITY:
        cache.popitem(last=False)
