"""Full-resolution maps, fetched once: a map of a done run never changes."""

from __future__ import annotations

from collections import OrderedDict

from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import MapData
from modelshapley.units import UnitKind

KEPT = 24


class Maps:
    """The KEPT maps used last."""

    def __init__(self, api: AsyncClient) -> None:
        self._api = api
        self._held: OrderedDict[tuple[str, str, UnitKind], MapData] = OrderedDict()

    async def get(self, run_id: str, method: str, kind: UnitKind) -> MapData:
        """Raises ModelShapleyError."""
        key = (run_id, method, kind)
        if key not in self._held:
            self._held[key] = await self._api.send(client.importance_map(run_id, method, kind))
        self._held.move_to_end(key)
        while len(self._held) > KEPT:
            self._held.popitem(last=False)
        return self._held[key]
