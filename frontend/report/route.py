"""`GET /runs/{run_id}/report`: a run as one HTML file."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from frontend import address
from frontend.map_cache import MapCache
from frontend.report.document import report
from frontend.responses import refused
from modelshapley.client import AsyncClient
from modelshapley.errors import ModelShapleyError


def register(root: FastAPI, api: AsyncClient, maps: MapCache) -> None:
    """Add the route. This must come before Dash, whose own route matches every other address."""

    @root.get("/runs/{run_id}/report", response_class=HTMLResponse)
    async def _report(run_id: str, method: str | None = None) -> HTMLResponse:
        if address.run_of(f"/runs/{run_id}") is None:
            raise HTTPException(404, f"There is no run {run_id[:64]!r}.")
        try:
            text = await report(api, maps, run_id, method)
        except ModelShapleyError as error:
            raise refused(error) from error
        headers = {"Content-Disposition": f'inline; filename="model-shapley-{run_id}.html"'}
        return HTMLResponse(text, headers=headers)
