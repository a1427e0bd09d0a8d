"""Routes to submit, list, watch, cancel and delete runs, and to fetch their maps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.queue.connections import undo_if_redis_is_down
from backend.queue.later_checks import enqueue_later_check
from backend.web import estimates
from backend.web.access.callers import IdentityDep, refuse_others
from backend.web.access.rates import refuse_too_much_work
from backend.web.bodies import BodyRoute
from backend.web.dependencies import Services, ServicesDep
from backend.web.finished_runs import finished
from backend.web.maps import load_map, load_partial, map_data, pooled_or_whole
from backend.web.routes.stream import follow, reserve_stream
from backend.web.validation import check_run
from modelshapley.contracts import (
    CheckRequest,
    Estimate,
    Faithfulness,
    Harm,
    MapData,
    PartialMap,
    Run,
    RunLabels,
    RunOrder,
    RunPage,
    RunRequest,
    Status,
    Trial,
)
from modelshapley.errors import Conflict, Damaged, ModelShapleyError, NotFound
from modelshapley.evaluation.verdict import with_verdicts
from modelshapley.maps.importance import ImportanceMap, by_projection, spans_of
from modelshapley.maps.parquet import to_parquet
from modelshapley.methods import with_harm
from modelshapley.units import Deactivation, UnitKind

router = APIRouter(prefix="/runs", tags=["runs"], route_class=BodyRoute)
SINGLE_UNIT = r"^(layer:\d{1,7}|(neuron|head|expert|row):\d{1,7}\.\d{1,7})$"


@router.post("", status_code=202)
def submit_run(request: RunRequest, services: ServicesDep, identity: IdentityDep, response: Response) -> Run:
    """Validate, record and queue a run."""
    refuse_too_much_work(services, identity)
    request, anatomy = check_run(request, services.catalog, services.tasks)
    services.queues.ping()
    run = services.records.add_run(request, anatomy.shapes.as_dict(), anatomy.layout, identity.name)
    with undo_if_redis_is_down(lambda: services.records.drop_run(run.id)):
        services.queues.enqueue_run(run.id, range(1, run.shards + 1) if run.shards > 1 else (), run.owner)
    services.records.audit(identity.name, "submit_run", run.id)
    response.headers["Location"] = f"/api/v1/runs/{run.id}"
    return run


@router.post("/estimate")
def estimate_run(request: RunRequest, services: ServicesDep) -> Estimate:
    """Estimate the cost of a run without queueing it; invalid requests are refused as on submission."""
    return estimates.estimate(request, services)


@router.get("")
def list_runs(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    search: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")] = "",
    status: Annotated[Status | None, Query()] = None,
    deleted: Annotated[bool, Query()] = False,
    tag: Annotated[str | None, Query(max_length=40, pattern=r"^[^\x00]*$")] = None,
    order: Annotated[RunOrder, Query()] = "newest",
) -> RunPage:
    """List runs, newest first.

    `search`: words that must all occur in name, model, task, methods, tags or comment. `deleted`: list deleted runs,
    which can be restored, instead of the others. `tag`: only runs with this tag. `order`: newest first in all, or
    within each model or combination of tags.
    """
    runs = services.records.runs(limit, offset, search, status, deleted, tag, order)
    return runs.model_copy(update={"items": [services.fetches.with_progress(run) for run in runs.items]})


@router.get("/{run_id}")
def get_run(run_id: str, services: ServicesDep) -> Run:
    return services.fetches.with_progress(services.records.run(run_id))


@router.patch("/{run_id}")
def label_run(run_id: str, labels: RunLabels, services: ServicesDep, identity: IdentityDep) -> Run:
    """Set name, comment or tags of a run; fields that are left out stay."""
    refuse_others(identity, services.records.run(run_id))
    run = services.records.label_run(run_id, labels)
    services.records.audit(identity.name, "label_run", run_id)
    return run


@router.delete("/{run_id}")
def cancel_run(run_id: str, services: ServicesDep, identity: IdentityDep) -> Run:
    """Cancel a run; a running one stops after its current batch."""
    run = services.records.run(run_id)
    refuse_others(identity, run)
    if run.status is Status.CANCELLED:
        return run
    cancelled = services.updates.update_run(run_id, "status", status=Status.CANCELLED)
    if cancelled is None:
        raise Conflict(f"Run {run_id} is {run.status.value}; only a queued or running one can be cancelled.")
    services.records.audit(identity.name, "cancel_run", run_id)
    return cancelled


@router.put("/{run_id}/deleted")
def delete_run(run_id: str, services: ServicesDep, identity: IdentityDep) -> Run:
    """Delete a run that has ended: it leaves the lists, and is removed permanently after a while (`GET /limits`)."""
    refuse_others(identity, services.records.run(run_id))
    run = services.records.delete_run(run_id)
    services.records.audit(identity.name, "delete_run", run_id)
    return run


@router.delete("/{run_id}/deleted")
def restore_run(run_id: str, services: ServicesDep, identity: IdentityDep) -> Run:
    """Restore a deleted run with its maps, trials and report."""
    refuse_others(identity, services.records.run(run_id))
    since = datetime.now(UTC) - timedelta(hours=services.settings.deleted_kept_hours)
    run = services.records.restore_run(run_id, since)
    services.records.audit(identity.name, "restore_run", run_id)
    return run


@router.get("/{run_id}/events", response_class=EventSourceResponse, dependencies=[Depends(reserve_stream)])
async def stream_run_events(
    run: Annotated[Run, Depends(get_run)],
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d+-\d+$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream server-sent events `progress` and `status`; the data of each is the run at that time."""
    async for event in follow(services.events, "run", run.id, lambda: services.records.run(run.id), last_event_id):
        yield event


@router.get(
    "/{run_id}/maps/{method}/{unit}",
    response_model=MapData,
    responses={
        200: {"content": {"text/csv": {}, "application/octet-stream": {}, "application/vnd.apache.parquet": {}}}
    },
)
def get_map(
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
    """Return scores and standard errors of one kind of unit.

    `columns` pools wide JSON maps to at most that many columns; `pool=maps` pools rows by linear map. `harm` sets the
    weight of harm, for methods that store help and harm separately: scores are (1 + harm) help + (1 - harm) harm, or
    help - harm for 'signed'. `class` is a label in the run's `classes`, for the map of its examples alone.
    """
    if harm is not None:
        method = with_harm(method, harm)
    run = services.records.run(run_id)
    importance_map = load_map(services, run, method, unit, label)
    class_suffix = "" if label is None else f"-{quote(label, safe='')}"
    name = f"{run_id}-{method}-{unit.value}{class_suffix}.{format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if format == "csv":
        return PlainTextResponse(importance_map.csv(unit), headers=headers, media_type="text/csv")
    if format == "safetensors":
        return Response(importance_map.to_bytes([unit]), headers=headers, media_type="application/octet-stream")
    if format == "parquet":
        return Response(to_parquet(importance_map, unit), headers=headers, media_type="application/vnd.apache.parquet")
    if pool is not None:
        return _by_projection(run, importance_map, unit)
    return pooled_or_whole(run_id, importance_map, unit, columns)


@router.get(
    "/{run_id}/partial/{method}/{unit}",
    response_model=PartialMap | None,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_partial_map(
    run_id: str,
    method: str,
    unit: UnitKind,
    services: ServicesDep,
    format: Literal["json", "safetensors"] = "json",
    columns: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> PartialMap | Response | None:
    """Return the map so far of a run that is being scored: a mean over fewer examples, which is no result.

    Null, or an empty file, until a worker has computed one, over more than `after` examples; workers do so, every few
    seconds, only while somebody asks. `columns` as for maps. 409 once the run has ended.
    """
    importance_map = load_partial(services, services.records.run(run_id), method, unit, after)
    if format == "safetensors":
        content = b"" if importance_map is None else importance_map.to_bytes([unit])
        return Response(content, media_type="application/octet-stream")
    if importance_map is None:
        return None
    data = pooled_or_whole(run_id, importance_map, unit, columns)
    return PartialMap(n=data.provenance["n"], total=data.provenance["partial_of"], map=data)


@router.get("/{run_id}/faithfulness")
def get_faithfulness(run_id: str, services: ServicesDep) -> Faithfulness:
    """Return the report on how far a finished run's maps can be trusted, as measured so far, with a verdict on each."""
    run = services.records.run(run_id)
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run_id} is {run.status.value}; its maps can be checked once it is done.")
    return _report(services, run)


@router.post("/{run_id}/faithfulness", status_code=202)
def check_maps(run_id: str, request: CheckRequest, services: ServicesDep, identity: IdentityDep) -> Faithfulness:
    """Check the maps of a finished run, unless an equally thorough check has succeeded."""
    run = finished(services.records.run(run_id), "its maps can be checked")
    refuse_too_much_work(services, identity)
    is_checked = run.checks is Status.DONE and not _forget_damaged_report(services, run_id)
    if is_checked and (run.faithfulness == "full" or run.faithfulness == request.effort):
        hint = "" if run.faithfulness == "full" else "; request 'full' for a more thorough one"
        raise Conflict(f"The maps of run {run_id} already have a {run.faithfulness} check{hint}.")
    services.queues.ping()
    requested = services.records.request_check(run_id, request.effort)
    if requested is None:
        raise Conflict(f"The maps of run {run_id} are being checked already; try again once that has ended.")
    with undo_if_redis_is_down(lambda: services.records.undo_check_request(run)):
        enqueue_later_check(services.queues, run_id, run.owner)
    services.records.audit(identity.name, "check_maps", run_id)
    return _report(services, requested)


@router.delete("/{run_id}/faithfulness")
def cancel_check(run_id: str, services: ServicesDep, identity: IdentityDep) -> Run:
    """Cancel the check of a run's maps, waiting or running; what it has measured stays in the report."""
    run = services.records.run(run_id)
    refuse_others(identity, run)
    cancelled = services.records.cancel_check(run_id)
    if cancelled is None:
        raise Conflict(f"No check of run {run_id} waits or runs.")
    services.records.audit(identity.name, "cancel_check", run_id)
    return cancelled


def _forget_damaged_report(services: Services, run_id: str) -> bool:
    """Remove the report if it cannot be read, so that another check can replace it; return whether it was so."""
    try:
        services.storage.load_report(run_id)
    except Damaged:
        services.storage.drop_report(run_id)
        return True
    return False


def _report(services: Services, run: Run) -> Faithfulness:
    """Return the report of a run's check so far, with verdicts. Raises NotFound."""
    report = services.storage.load_report(run.id)
    if report is None:
        if run.checks is None:
            raise NotFound(f"Run {run.id} has no faithfulness report; it is older than such reports.")
        report = Faithfulness.unmeasured(run, {})
    status = run.checks or Status.DONE
    error = report.error if status.ended else None  # a running check shows no error of the previous one
    return with_verdicts(report.answering(run).model_copy(update={"status": status, "error": error}))


@router.get("/{run_id}/trials")
def list_trials(
    run_id: str,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    alone: Annotated[str | None, Query(pattern=SINGLE_UNIT, examples=["head:1.4", "layer:3"])] = None,
) -> list[Trial]:
    """List the trials of a run by all users, newest first, without superseded ones.

    `alone`: only those in which this unit and no other was switched off.
    """
    if alone is None:
        return services.records.trials(run_id, limit)
    kind, _, unit = alone.partition(":")
    of = Deactivation.of({UnitKind(kind): [tuple(map(int, unit.split(".")))]})
    return services.records.trials(run_id, limit, of)


def _by_projection(run: Run, importance_map: ImportanceMap, unit: UnitKind) -> MapData:
    if unit is not UnitKind.ROW:
        raise ModelShapleyError(f"Only rows belong to linear maps; 'pool=maps' cannot pool {unit.value}s.")
    scores, errors, names = by_projection(*importance_map.table(unit), spans_of(run.layout.projections))
    return map_data(run.id, importance_map, unit, scores, errors, columns=names)
