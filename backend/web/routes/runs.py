"""Submit, list, watch and cancel runs; fetch their maps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.queue.later_checks import enqueue_later_check
from backend.queue.queues import REDIS_DOWN
from backend.web import estimates
from backend.web.dependencies import Services, ServicesDep
from backend.web.routes.stream import follow
from backend.web.validation import check_run
from modelshapley.contracts import (
    CheckRequest,
    Estimate,
    Faithfulness,
    Harm,
    MapData,
    Run,
    RunPage,
    RunRequest,
    Status,
    Trial,
)
from modelshapley.errors import Conflict, ModelShapleyError, NotFound
from modelshapley.maps.importance import ImportanceMap, by_projection, spans_of
from modelshapley.maps.parquet import to_parquet
from modelshapley.methods import reading_of, with_harm
from modelshapley.units import Deactivation, UnitKind

router = APIRouter(prefix="/runs", tags=["runs"])
ONE_UNIT = r"^(layer:\d{1,7}|(neuron|head|expert|row):\d{1,7}\.\d{1,7})$"


@router.post("", status_code=202)
def submit(request: RunRequest, services: ServicesDep, response: Response) -> Run:
    """Check, record and queue a run."""
    request, anatomy = check_run(request, services.catalog, services.tasks)
    services.queues.ping()
    run = services.records.add_run(request, anatomy.shapes.as_dict(), anatomy.layout)
    try:
        services.queues.enqueue_run(run.id, range(1, run.shards + 1) if run.shards > 1 else ())
    except REDIS_DOWN:
        services.records.drop_run(run.id)
        raise
    response.headers["Location"] = f"/api/v1/runs/{run.id}"
    return run


@router.post("/estimate")
def estimate(request: RunRequest, services: ServicesDep) -> Estimate:
    """What a run will take, without queueing it; what would be refused is refused services, too."""
    return estimates.estimate(request, services)


@router.get("")
def page(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    search: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")] = "",
    status: Annotated[Status | None, Query()] = None,
    deleted: Annotated[bool, Query()] = False,
) -> RunPage:
    """Runs, newest first. `search`: words that must all be in its model, task or methods; `deleted`: those that
    were deleted and can be brought back, in the place of the others."""
    found = services.records.runs(limit, offset, search, status, deleted)
    return found.model_copy(update={"items": [services.fetches.seen(run) for run in found.items]})


@router.get("/{run_id}")
def one(run_id: str, services: ServicesDep) -> Run:
    return services.fetches.seen(services.records.run(run_id))


@router.delete("/{run_id}")
def cancel(run_id: str, services: ServicesDep) -> Run:
    """Cancel a run; one that is being scored stops after its current batch."""
    run = services.records.run(run_id)
    if run.status is Status.CANCELLED:
        return run
    cancelled = services.records.update_run(run_id, status=Status.CANCELLED)
    if cancelled is None:
        raise Conflict(f"Run {run_id} is {run.status.value}; only a queued or running one can be cancelled.")
    services.queues.publish("run", run_id, "status", cancelled)
    return cancelled


@router.put("/{run_id}/deleted")
def delete(run_id: str, services: ServicesDep) -> Run:
    """Delete a run that has ended: it leaves the lists, and is gone for good after a while (`GET /limits`)."""
    return services.records.delete_run(run_id)


@router.delete("/{run_id}/deleted")
def bring_back(run_id: str, services: ServicesDep) -> Run:
    """Undo the deletion of a run: its maps, trials and report are as they were."""
    return services.records.bring_back(
        run_id, datetime.now(UTC) - timedelta(hours=services.settings.deleted_kept_hours)
    )


@router.get("/{run_id}/events", response_class=EventSourceResponse)
async def events(
    run: Annotated[Run, Depends(one)],
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d+-\d+$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events `progress` and `status`; the data of each is the run as it is then."""
    async for event in follow(services.events, "run", run.id, lambda: services.records.run(run.id), last_event_id):
        yield event


@router.get(
    "/{run_id}/maps/{method}/{unit}",
    response_model=MapData,
    responses={
        200: {"content": {"text/csv": {}, "application/octet-stream": {}, "application/vnd.apache.parquet": {}}}
    },
)
def importance_map(
    run_id: str,
    method: str,
    unit: UnitKind,
    services: ServicesDep,
    format: Literal["json", "csv", "safetensors", "parquet"] = "json",
    columns: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    pool: Annotated[Literal["maps"] | None, Query()] = None,
    harm: Annotated[Harm | None, Query()] = None,
    label: Annotated[str | None, Query(alias="class", max_length=200)] = None,
) -> MapData | Response:
    """Scores and standard errors of one kind of unit.

    `columns` pools wide JSON maps to at most that many; `pool=maps` pools rows to the linear maps that they are
    of. `harm` weighs help and harm anew, for methods that keep
    them apart: scores are (1 + harm) help + (1 - harm) harm, or help - harm for 'signed'. `class` is a label in
    the run's `classes`: the map over its examples alone.
    """
    if harm is not None:
        method = with_harm(method, harm)
    found = load_map(services, run_id, method, unit, label)
    of_class = "" if label is None else f"-{quote(label, safe='')}"
    name = f"{run_id}-{method}-{unit.value}{of_class}.{format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if format == "csv":
        return PlainTextResponse(found.csv(unit), headers=headers, media_type="text/csv")
    if format == "safetensors":
        return Response(found.to_bytes([unit]), headers=headers, media_type="application/octet-stream")
    if format == "parquet":
        return Response(to_parquet(found, unit), headers=headers, media_type="application/vnd.apache.parquet")
    if pool is not None:
        return _by_projection(services.records.run(run_id), found, unit)
    return _data(run_id, found, unit, columns)


@router.get("/{run_id}/faithfulness")
def faithfulness(run_id: str, services: ServicesDep) -> Faithfulness:
    """How far the maps of a finished run can be trusted: what has been measured so far, by switching off."""
    run = _finished(services, run_id)
    return _report(services, run)


@router.post("/{run_id}/faithfulness", status_code=202)
def check(run_id: str, request: CheckRequest, services: ServicesDep) -> Faithfulness:
    """Check the maps of a finished run that were not checked yet, not so thoroughly, or in vain."""
    run = _finished(services, run_id)
    done = run.checks is Status.DONE
    if done and (run.faithfulness == "full" or run.faithfulness == request.effort):
        more = "" if run.faithfulness == "full" else "; ask for 'full' to have them checked more thoroughly"
        raise Conflict(f"The maps of run {run_id} have had their {run.faithfulness} check{more}.")
    services.queues.ping()
    asked = services.records.ask_check(run_id, request.effort)
    if asked is None:
        raise Conflict(f"The maps of run {run_id} are being checked already; ask again once that has ended.")
    try:
        enqueue_later_check(services.queues, run_id)
    except REDIS_DOWN:
        services.records.forget_check(run)
        raise
    return _report(services, asked)


def _finished(services: Services, run_id: str) -> Run:
    """Raises NotFound, Conflict."""
    run = services.records.run(run_id)
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run_id} is {run.status.value}; its maps can be checked once it is done.")
    return run


def _report(services: Services, run: Run) -> Faithfulness:
    """What its check has found so far. Raises NotFound."""
    report = services.storage.load_report(run.id)
    if report is None:
        if run.checks is None:
            raise NotFound(f"Run {run.id} has no faithfulness report; it was scored before there were any.")
        report = Faithfulness.unmeasured(run, {})
    status = run.checks or Status.DONE
    error = report.error if status.ended else None  # else that of the check before
    return report.answering(run).model_copy(update={"status": status, "error": error})


@router.get("/{run_id}/trials")
def trials(
    run_id: str,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    alone: Annotated[str | None, Query(pattern=ONE_UNIT, examples=["head:1.4", "layer:3"])] = None,
) -> list[Trial]:
    """What was tried on a run, newest first, whoever did; without trials that newer ones took the place of.

    `alone`: only those in which this unit and no other was switched off.
    """
    if alone is None:
        return services.records.trials(run_id, limit)
    kind, _, unit = alone.partition(":")
    of = Deactivation.of({UnitKind(kind): [tuple(map(int, unit.split(".")))]})
    return services.records.trials(run_id, limit, of)


def load_map(services: Services, run_id: str, method: str, unit: UnitKind, label: str | None = None) -> ImportanceMap:
    """A map as computed, or another reading of it (`two-sided,harm=0.25` of a run that was scored by `two-sided`).

    label: of one class of examples. Raises NotFound (no such run, method, unit or class in it), Conflict (it has no
    maps yet, or never will)."""
    run = services.records.run(run_id)
    reading = reading_of(method, run.methods)
    if reading is None or unit not in run.units:
        raise NotFound(
            f"Run {run_id} has no map of {unit.value}s by {method!r}; "
            f"it was asked for {', '.join(run.methods)} on {', '.join(run.units)}."
        )
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run_id} is {run.status.value}; its maps are there once it is done.")
    if label is not None and label not in run.classes:
        raise NotFound(_no_class(run, label))
    found = services.storage.load_map(run_id, reading.computed, label)
    return found if method == reading.computed else found.with_harm(reading.harm)


def _no_class(run: Run, label: str) -> str:
    if not run.per_class:
        return f"Run {run.id} has no maps per class; submit one with per_class true to have them."
    return f"Run {run.id} has no class {label!r}; its classes are {', '.join(run.classes)}."


def _data(run_id: str, found: ImportanceMap, unit: UnitKind, columns: int | None) -> MapData:
    scores, errors = found.table(unit)
    if columns is None or columns >= scores.shape[1]:
        return _answer(run_id, found, unit, scores, errors)
    scores, errors, edges = found.pooled(unit, columns)
    return _answer(run_id, found, unit, scores, errors, edges=edges)


def _by_projection(run: Run, found: ImportanceMap, unit: UnitKind) -> MapData:
    if unit is not UnitKind.ROW:
        raise ModelShapleyError(f"Only rows belong to linear maps; 'pool=maps' cannot pool {unit.value}s.")
    scores, errors, names = by_projection(*found.table(unit), spans_of(run.layout.projections))
    return _answer(run.id, found, unit, scores, errors, columns=names)


def _answer(
    run_id: str,
    found: ImportanceMap,
    unit: UnitKind,
    scores: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64],
    edges: list[int] | None = None,
    columns: list[str] | None = None,
) -> MapData:
    return MapData(
        run=run_id,
        method=found.method,
        unit=unit,
        shape=list(found.scores[unit].shape),
        edges=edges,
        columns=columns,
        scores=_finite(scores),
        standard_errors=_finite(errors),
        quantity=found.quantity,
        signed=found.signed,
        provenance=dict(found.provenance),
    )


def _finite(table: npt.NDArray[np.float64]) -> list[list[float | None]]:
    return [[value if np.isfinite(value) else None for value in row] for row in table.tolist()]
