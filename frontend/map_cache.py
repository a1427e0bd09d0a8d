"""A cache of full-resolution maps; the map of a finished run never changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace

from frontend.figures.planes import Plane
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

CAPACITY_BYTES = 512 * 2**20


class MapCache:
    """The maps used last, up to CAPACITY_BYTES of them."""

    def __init__(self, api: AsyncClient) -> None:
        self._api = api
        self._entries: OrderedDict[tuple[str, str, UnitKind, str | None], tuple[ImportanceMap, Plane]] = OrderedDict()

    async def get(self, run_id: str, method: str, kind: UnitKind, label: str | None = None) -> Plane:
        """Return one kind of unit of a map as a plane; label: of one class of examples. Raises ModelShapleyError."""
        return (await self._both(run_id, method, kind, label))[1]

    async def whole(self, run_id: str, method: str, kind: UnitKind, label: str | None = None) -> ImportanceMap:
        """Return the map itself, of one kind of unit, without its separate help and harm. Raises ModelShapleyError."""
        return (await self._both(run_id, method, kind, label))[0]

    async def _both(self, run_id: str, method: str, kind: UnitKind, label: str | None) -> tuple[ImportanceMap, Plane]:
        key = (run_id, method, kind, label)
        if key not in self._entries:
            # As safetensors: 2 million units as JSON would take seconds to write and read.
            data = await self._api.send(client.map_file(run_id, method, kind, "safetensors", label))
            importance_map = replace(await asyncio.to_thread(ImportanceMap.from_bytes, data), sides={})
            self._entries[key] = importance_map, plane_of(run_id, importance_map, kind)
        self._entries.move_to_end(key)
        while len(self._entries) > 1 and self._size() > CAPACITY_BYTES:
            self._entries.popitem(last=False)
        return self._entries[key]

    def _size(self) -> int:
        return sum(plane.scores.nbytes * 3 for _, plane in self._entries.values())  # scores, errors, ranks


def plane_of(run_id: str, importance_map: ImportanceMap, kind: UnitKind) -> Plane:
    """Return one kind of unit of a map as a plane, layers in rows."""
    scores, errors = importance_map.table(kind)
    return Plane(
        run=run_id,
        method=importance_map.method,
        unit=kind,
        shape=list(importance_map.scores[kind].shape),
        scores=scores,
        standard_errors=errors,
        quantity=importance_map.quantity,
        signed=importance_map.signed,
        provenance=dict(importance_map.provenance),
    )
