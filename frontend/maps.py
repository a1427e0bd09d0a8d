"""Full-resolution maps, fetched once: a map of a done run never changes."""

from __future__ import annotations

from collections import OrderedDict

from frontend.map_files import fetched
from frontend.planes import Plane
from modelshapley.client import AsyncClient
from modelshapley.importance import ImportanceMap
from modelshapley.units import UnitKind

KEPT_BYTES = 512 * 2**20


class Maps:
    """The maps used last, KEPT_BYTES of them."""

    def __init__(self, api: AsyncClient) -> None:
        self._api = api
        self._held: OrderedDict[tuple[str, str, UnitKind, str | None], Plane] = OrderedDict()

    async def get(self, run_id: str, method: str, kind: UnitKind, label: str | None = None) -> Plane:
        """label: of one class of examples. Raises ModelShapleyError."""
        key = (run_id, method, kind, label)
        if key not in self._held:
            self._held[key] = plane(run_id, await fetched(self._api, *key), kind)
        self._held.move_to_end(key)
        while len(self._held) > 1 and sum(held.scores.nbytes * 3 for held in self._held.values()) > KEPT_BYTES:
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
