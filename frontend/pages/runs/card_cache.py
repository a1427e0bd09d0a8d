"""What cards of finished runs show besides the run itself: a small picture of the map and its verdict, fetched once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from frontend.figures.thumbnail import thumbnail
from frontend.pages.runs.run_card import Trust
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, Status
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.verdict import verdict
from modelshapley.units import UnitKind

CAPACITY = 200
COLUMNS = 32


class CardCache:
    """Pictures and verdicts of the runs that were listed last. A card without one is better than no list, so errors
    are dropped here; the run's own page reports them."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, str] = OrderedDict()
        self._trusts: OrderedDict[str, Trust] = OrderedDict()

    async def picture(self, api: AsyncClient, run: Run) -> str | None:
        """Return a small picture of a map of the run; None where there is none."""
        if run.status is not Status.DONE or not run.maps:
            return None
        if run.id not in self._pictures:
            try:
                data = await api.send(client.importance_map(run.id, run.methods[0], _kind(run), columns=COLUMNS))
            except ModelShapleyError:
                return None
            _keep(self._pictures, run.id, thumbnail(data))
        return self._pictures[run.id]

    async def trust(self, api: AsyncClient, run: Run) -> Trust | None:
        """Return the verdict on that map; None where it is not checked. It is cached once its check has ended."""
        if run.status is not Status.DONE or run.checks is None:
            return None
        key = f"{run.id} {run.checks.value}"
        if key in self._trusts:
            return self._trusts[key]
        method, kind = run.methods[0], _kind(run)
        try:
            report = await api.send(client.faithfulness(run.id))
        except ModelShapleyError:
            return None
        trust = Trust(verdict(report, method, kind), method, kind)
        if run.checks.ended:
            _keep(self._trusts, key, trust)
        return trust


def _kind(run: Run) -> UnitKind:
    """Heads where the run has them: fewer than neurons, more telling than layers."""
    return UnitKind.HEAD if UnitKind.HEAD in run.units else next(kind for kind in UnitKind if kind in run.units)


def _keep(cache: OrderedDict[str, Any], key: str, value: Any) -> None:
    cache[key] = value
    if len(cache) > CAPACITY:
        cache.popitem(last=False)
