"""Full-resolution maps, fetched once: a map of a done run never changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace

from frontend.figures.planes import Plane
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

KEPT_BYTES = 512 * 2**20


class Maps:
    """The maps used last, KEPT_BYTES of them."""

    def __init__(self, api: AsyncClient) -> None:
        self._api = api
        self._held: OrderedDict[tuple[str, str, UnitKind, str | None], tuple[ImportanceMap, Plane]] = OrderedDict()

    async def get(self, run_id: str, method: str, kind: UnitKind, label: str | None = None) -> Plane:
        """One kind of unit as pages work on it; label: of one class of examples. Raises ModelShapleyError."""
        return (await self._both(run_id, method, kind, label))[1]

    async def whole(self, run_id: str, method: str, kind: UnitKind, label: str | None = None) -> ImportanceMap:
        """The map itself, of one kind of unit, without help and harm apart. Raises ModelShapleyError."""
        return (await self._both(run_id, method, kind, label))[0]

    async def _both(self, run_id: str, method: str, kind: UnitKind, label: str | None) -> tuple[ImportanceMap, Plane]:
        key = (run_id, method, kind, label)
        if key not in self._held:
            # As safetensors: 2 million units as JSON would take seconds to write and read.
            data = await self._api.send(client.map_file(run_id, method, kind, "safetensors", label))
            found = replace(await asyncio.to_thread(ImportanceMap.from_bytes, data), sides={})
            self._held[key] = found, plane(run_id, found, kind)
        self._held.move_to_end(key)
        while len(self._held) > 1 and sum(held.scores.nbytes * 3 for _, held in self._held.values()) > KEPT_BYTES:
            self._held.popitem(last=False)
        return self._held[key]


def plane(run_id: str, found: ImportanceMap, kind: UnitKind) -> Plane:
    scores, errors = found.table(kind)
    return Plane(
        run=run_id,
        method=found.method,
        unit=kind,
        shape=list(found.scores[kind].shape),
        scores=scores,
        standard_errors=errors,
        quantity=found.quantity,
        signed=found.signed,
        provenance=dict(found.provenance),
    )
