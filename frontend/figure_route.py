"""`GET /runs/{run_id}/figure`: what the map page draws, for assets/look.js.

Not through a callback of Dash: the browser asks for it while the page is still being built, and keeps it.
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
from frontend.address import View, parse, shown
from frontend.figures import heatmaps
from frontend.map_cache import Maps
from frontend.responses import refused
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, Status
from modelshapley.errors import Conflict, ModelShapleyError
from modelshapley.units import UnitKind

STARTED = secrets.token_hex(8)
"""Of this process: figures drawn by another one, maybe of another version, are not taken for its own."""
KEPT = 32
WINDOW = re.compile(r"([a-z]{1,20}):(\d{1,9})-(\d{1,9})", re.ASCII)


class Drawings:
    """The figures drawn last, as JSON, and the ends of colour bars, which closer looks need."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._figures: OrderedDict[tuple[str, View], bytes] = OrderedDict()
        self._limits: OrderedDict[tuple[str, View, UnitKind], tuple[float, float]] = OrderedDict()

    async def figure(self, run: Run, view: View) -> bytes:
        """Raises ModelShapleyError."""
        assert view.method is not None
        key = (run.id, view)
        if key not in self._figures:
            found = {kind: await self._maps.get(run.id, view.method, kind, view.label) for kind in run.units}
            # Millions of units are ranked here, at first: other people's clicks go on meanwhile.
            figure = await asyncio.to_thread(heatmaps.map_figure, found, run.layout, view.display)
            of = {"method": view.method, "look": display.write(view.display), "class": view.label or ""}
            _keep(self._figures, key, json.dumps({"of": of, "figure": figure}).encode())
        return self._figures[key]

    async def closer(self, run: Run, view: View, kind: UnitKind, start: int, stop: int) -> bytes:
        """The cells of a part of a panel. Raises ModelShapleyError."""
        assert view.method is not None
        found = await self._maps.get(run.id, view.method, kind, view.label)
        key = (run.id, view, kind)
        if key not in self._limits:
            _keep(self._limits, key, await asyncio.to_thread(heatmaps.limits, found, view.display))
        width = found.scores.shape[1]
        first = max(0, min(width - 1, start))
        window = (first, max(first + 1, min(width, stop)))
        cells = await asyncio.to_thread(heatmaps.window_of, found, window, view.display, self._limits[key])
        return json.dumps(cells).encode()


def register(root: FastAPI, api: AsyncClient, maps: Maps) -> None:
    """Before Dash, whose own route answers every other address."""
    drawings = Drawings(maps)

    @root.get("/runs/{run_id}/figure")
    async def _figure(run_id: str, request: Request, window: str | None = None, early: bool = False) -> Response:
        """The query is that of the page's own address. window: 'neuron:100-400', for a closer look.

        early: asked before it is known whether there is a map; then it is no error if there is none.
        """
        if address.run_of(f"/runs/{run_id}") is None:
            raise HTTPException(404, f"There is no run {run_id[:64]!r}.")
        try:
            run = await api.send(client.run(run_id))
            if run.status is not Status.DONE or run.deleted is not None:
                raise Conflict(f"Run {run_id} has no map: it is {_state(run)}.")
            view = shown(run, parse(request.url.query))
            tag = _tag(run_id, view, window)
            headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers=headers)
            drawn = (
                await drawings.figure(run, view)
                if window is None
                else await drawings.closer(run, view, *_window(window, run))
            )
        except ModelShapleyError as error:
            if early:
                return Response(status_code=204)
            raise refused(error) from error
        return Response(drawn, media_type="application/json", headers=headers)


def _tag(run_id: str, view: View, window: str | None) -> str:
    """Weak, since answers are compressed on their way."""
    return f'W/"{sha256(repr((STARTED, run_id, view, window)).encode()).hexdigest()[:32]}"'


def _window(text: str, run: Run) -> tuple[UnitKind, int, int]:
    found = WINDOW.fullmatch(text)
    kind = next((kind for kind in run.units if found and kind.value == found[1]), None)
    if found is None or kind is None:
        raise HTTPException(422, f"{text[:60]!r} is no part of this map; write neuron:100-400, say.")
    return kind, int(found[2]), int(found[3])


def _state(run: Run) -> str:
    return "deleted" if run.deleted is not None else run.status.value


def _keep(held: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    held[key] = value
    while len(held) > KEPT:
        held.popitem(last=False)
