"""The contents of a run's report, fetched from the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from frontend.figures import heatmaps
from frontend.map_cache import MapCache
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Faithfulness, MethodInfo, Run, Status, Trial
from modelshapley.errors import Conflict, NotFound
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import reading_of
from modelshapley.units import UnitKind

TRIALS = 50


@dataclass(frozen=True)
class Contents:
    """The contents of a report. method: as the report reads it; computed: as the run was scored."""

    run: Run
    method: str
    computed: str
    infos: Mapping[str, MethodInfo]
    maps: Mapping[UnitKind, ImportanceMap]
    faithfulness: Faithfulness
    trials: Sequence[Trial]
    created: datetime


async def gather(api: AsyncClient, maps: MapCache, run_id: str, method: str | None) -> Contents:
    """Fetch the contents. method: None for the run's first. Raises NotFound, Conflict, ApiError."""
    run = await api.send(client.run(run_id))
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run_id} is {run.status.value}. Its report is available once it is done.")
    wanted = method or run.methods[0]
    reading = reading_of(wanted, run.methods)
    if reading is None:
        raise NotFound(f"Run {run_id} was not scored by {wanted!r}. Its methods: {', '.join(run.methods)}.")
    kinds = [kind for kind in heatmaps.PANELS if kind in run.units]
    trials = await api.send(client.run_trials(run_id, 4 * TRIALS))
    return Contents(
        run=run,
        method=wanted,
        computed=reading.computed,
        infos={info.id: info for info in await api.send(client.methods())},
        maps={kind: await maps.whole(run_id, wanted, kind) for kind in kinds},
        faithfulness=await _faithfulness(api, run),
        trials=[trial for trial in trials if trial.status is Status.DONE][:TRIALS],
        created=datetime.now(UTC),
    )


async def _faithfulness(api: AsyncClient, run: Run) -> Faithfulness:
    try:
        return await api.send(client.faithfulness(run.id))
    except ApiError as error:
        if error.problem.status != 404:  # scored by a version without reports
            raise
        return Faithfulness.unmeasured(run.model_copy(update={"faithfulness": "none"}), {})
