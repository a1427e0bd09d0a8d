"""Maps as arrays, also of millions of units, fetched once: a map of a done run never changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace

from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.importance import ImportanceMap
from modelshapley.units import UnitKind

KEPT = 6


class MapFiles:
    """The KEPT maps used last, without help and harm apart."""

    def __init__(self, api: AsyncClient) -> None:
        self._api = api
        self._held: OrderedDict[tuple[str, str, UnitKind, str | None], ImportanceMap] = OrderedDict()

    async def get(self, run_id: str, method: str, kind: UnitKind, label: str | None = None) -> ImportanceMap:
        """label: of one class of examples. Raises ModelShapleyError."""
        key = (run_id, method, kind, label)
        if key not in self._held:
            self._held[key] = replace(await fetched(self._api, *key), sides={})
        self._held.move_to_end(key)
        while len(self._held) > KEPT:
            self._held.popitem(last=False)
        return self._held[key]


async def fetched(api: AsyncClient, run_id: str, method: str, kind: UnitKind, label: str | None) -> ImportanceMap:
    """One kind of unit of a map, whole. Raises ModelShapleyError.

    As safetensors: 2 million units as JSON would take seconds to write and read.
    """
    data = await api.send(client.map_file(run_id, method, kind, "safetensors", label))
    return await asyncio.to_thread(ImportanceMap.from_bytes, data)
