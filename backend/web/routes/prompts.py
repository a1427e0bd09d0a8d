"""Routes to try a prompt by hand: what the intact model answers, and what it answers with some units off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.queue.connections import REDIS_DOWN, undo_if_redis_is_down
from backend.queue.leases import Leases
from backend.queue.prompts import SUPERSEDED
from backend.queue.waiting import prompt_with_waiting
from backend.store.database import new_id
from backend.web.access.callers import IdentityDep
from backend.web.access.rates import refuse_too_much_work
from backend.web.bodies import BodyRoute
from backend.web.dependencies import Services, ServicesDep
from backend.web.finished_runs import finished
from backend.web.maps import pooled_or_whole
from backend.web.routes.runs import submit_run
from backend.web.routes.stream import follow, reserve_stream
from modelshapley.architectures.anatomy import Anatomy
from modelshapley.contracts import MapData, Run, RunLabels, RunRequest, Scope, Status
from modelshapley.contracts.prompts import (
    Prompt,
    PromptColumn,
    PromptComparison,
    PromptMap,
    PromptMapRequest,
    PromptRequest,
)
from modelshapley.errors import BadTreatment, Conflict, NotFound
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import canonical, check_size
from modelshapley.prompts.answer_task import CAUSAL, PICTURES, mismatch
from modelshapley.units import UnitKind

router = APIRouter(prefix="/prompts", tags=["prompts"], route_class=BodyRoute)


@router.post("", status_code=202)
def submit_prompt(request: PromptRequest, services: ServicesDep, identity: IdentityDep, response: Response) -> Prompt:
    """Queue a prompt; it and its answer are kept for an hour, and appear in no list."""
    run = None
    if request.run is not None:
        run = finished(services.records.run(request.run), "its map can be compared with the prompt's")
    model = run.model if run is not None else services.catalog.pin(request.model or "")
    anatomy = services.catalog.anatomy(model)
    _check(request, model, anatomy)
    services.queues.ping()
    refuse_too_much_work(services, identity)
    deactivation = request.off.deactivation(request.treatment)
    prompt = Prompt(
        id=new_id(),
        status=Status.QUEUED,
        model=model,
        run=request.run,
        modality=anatomy.modality,
        off=request.off,
        treatment=request.treatment,
        counts=deactivation.counts(),
        changed=PromptColumn() if len(deactivation) else None,
        owner=identity.name,
        created=datetime.now(UTC),
    )
    if request.session is not None:
        _supersede(services, request.session, prompt)
    services.prompts.open(prompt, request)
    with undo_if_redis_is_down(lambda: services.prompts.drop(prompt)):
        Leases(services.queues.redis).begin(prompt.id)
        services.queues.enqueue_prompt(prompt.id, model, owner=prompt.owner)
    response.headers["Location"] = f"/api/v1/prompts/{prompt.id}"
    return prompt


def _own(prompt_id: str, services: ServicesDep, identity: IdentityDep) -> Prompt:
    """Return a prompt of the caller's key. Raises NotFound for another's, except to an admin."""
    prompt = services.prompts.get(prompt_id)
    if prompt.owner not in (None, identity.name) and identity.scope is not Scope.ADMIN:
        raise NotFound(f"There is no prompt {prompt_id!r} of key {identity.name!r}.")
    return prompt


PromptDep = Annotated[Prompt, Depends(_own)]


@router.get("/{prompt_id}")
def get_prompt(prompt: PromptDep, services: ServicesDep) -> Prompt:
    """Return a prompt with its answer, and what it waits for while it is queued; tokens of now are in its events."""
    return _state(services, prompt)


@router.delete("/{prompt_id}")
def cancel_prompt(prompt: PromptDep, services: ServicesDep) -> Prompt:
    """Cancel a prompt; one that is being answered stops after its current token."""
    if prompt.status.ended:
        raise Conflict(f"Prompt {prompt.id} is {prompt.status.value}; only an open one can be cancelled.")
    return _cancel(services, prompt, "cancelled")


@router.get("/{prompt_id}/events", response_class=EventSourceResponse, dependencies=[Depends(reserve_stream)])
async def stream_prompt_events(
    prompt: PromptDep,
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d+-\d+$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream server-sent events: `status` and `progress` with the prompt at that time, `tokens` with one step of each
    column.
    """

    def read() -> Prompt:
        return _state(services, services.prompts.get(prompt.id))

    async for event in follow(services.events, "prompt", prompt.id, read, last_event_id):
        yield event


@router.get("/{prompt_id}/comparison")
def get_prompt_comparison(prompt: PromptDep, services: ServicesDep) -> PromptComparison:
    """Return both states of the model at each token of the intact answer, or the classes of a picture."""
    _require_done(prompt)
    return services.prompts.comparisons.get(prompt.id)


@router.post("/{prompt_id}/map", status_code=202)
def map_answer(request: PromptMapRequest, prompt: PromptDep, services: ServicesDep, identity: IdentityDep) -> PromptMap:
    """Have all units scored for this one answer, by one example's loss: minus the mean log-likelihood of its tokens."""
    _require_done(prompt)
    services.prompts.task(prompt.id)
    method, units = _checked(services, prompt, request)
    try:
        known = services.prompts.maps.get(prompt.id)
        if (known.method, known.units) == (method, units) and known.status is not Status.FAILED:
            return known
    except NotFound:
        pass  # not requested yet
    refuse_too_much_work(services, identity)
    state = PromptMap(prompt=prompt.id, status=Status.QUEUED, method=method, units=units)
    services.prompts.maps.save(prompt.id, state)
    services.queues.enqueue_prompt_map(prompt.id, prompt.model, prompt.owner)
    return state


@router.get("/{prompt_id}/map")
def get_answer_map(prompt: PromptDep, services: ServicesDep) -> PromptMap:
    """Return the state of the map of an answer."""
    return services.prompts.maps.get(prompt.id)


@router.get("/{prompt_id}/map/{unit}")
def get_answer_scores(
    unit: UnitKind,
    prompt: PromptDep,
    services: ServicesDep,
    columns: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
) -> MapData:
    """Return the scores of one kind of unit for one answer; `run` is the prompt's id. `columns` pools wide maps."""
    state = services.prompts.maps.get(prompt.id)
    if state.status is not Status.DONE:
        raise Conflict(
            f"The map of prompt {prompt.id} is {state.status.value}; its scores are available once it is done."
        )
    if unit not in state.units:
        raise NotFound(f"The map of prompt {prompt.id} has no {unit.value}s; it has {', '.join(state.units)}.")
    importance_map = ImportanceMap.from_bytes(services.prompts.load_map(prompt.id))
    return pooled_or_whole(prompt.id, importance_map, unit, columns)


@router.post("/{prompt_id}/run", status_code=202)
def keep_prompt(
    request: PromptMapRequest, prompt: PromptDep, services: ServicesDep, identity: IdentityDep, response: Response
) -> Run:
    """Keep the map of an answer: add a task with this one example, and submit a run of the model on it."""
    _require_done(prompt)
    task = services.prompts.task(prompt.id)
    method, units = _checked(services, prompt, request)
    services.records.add_task(task)
    services.records.audit(identity.name, "add_task", task.name)
    run = RunRequest(model=prompt.model, task=task.name, methods=[method], units=units, limit=1, faithfulness="none")
    submitted = submit_run(run, services, identity, response)
    comment = _comment(services.prompts.request(prompt.id))
    return services.records.label_run(submitted.id, RunLabels(name=task.title, comment=comment))


def _comment(request: PromptRequest) -> str | None:
    """Say what the accuracy of a sampled answer means, since it is usually 0 % and looks like a failure."""
    if request.prompt is None or request.temperature == 0:
        return None
    return (
        f"Answer sampled at temperature {request.temperature:g}. Its accuracy tells only whether the model's likeliest "
        "tokens are this answer, so 0 % is usual here; scores are of the answer's likelihood."
    )


def _check(request: PromptRequest, model: str, anatomy: Anatomy) -> None:
    """Raise TaskMismatch, UnitOutOfRange or BadTreatment for a request that this model cannot answer."""
    what, expected = ("A prompt", CAUSAL) if request.prompt is not None else ("A picture", PICTURES)
    if anatomy.auto_class != expected:
        raise mismatch(what, expected, model, anatomy.auto_class)
    deactivation = request.off.deactivation(request.treatment)
    deactivation.check(anatomy.shapes)
    if request.treatment.needs_pairs:
        raise BadTreatment("A prompt by hand has no corrupted one to patch units from; choose another treatment.")
    if request.run is None and request.treatment.needs_activations and len(deactivation):
        raise BadTreatment(
            f"Treating units by {request.treatment.how!r} needs the activations of a task; give 'run', a finished run "
            "of this model, instead of 'model'."
        )


def _checked(services: Services, prompt: Prompt, request: PromptMapRequest) -> tuple[str, list[UnitKind]]:
    """Return the canonical method and the kinds of unit of a map. Raises UnknownName, BadParameter."""
    shapes = services.catalog.anatomy(prompt.model).shapes
    default = [kind for kind in request.units if kind in shapes.kinds]
    units = request.units if "units" in request.model_fields_set else default
    for kind in units:
        shapes.of(kind)  # raises where the model has none
        check_size(canonical(request.method), kind.value, shapes.count(kind))
    return canonical(request.method), units


def _require_done(prompt: Prompt) -> None:
    if prompt.status is not Status.DONE:
        raise Conflict(f"Prompt {prompt.id} is {prompt.status.value}; this is available once it is done.")


def _state(services: Services, prompt: Prompt) -> Prompt:
    try:
        return prompt_with_waiting(services.records, services.queues, prompt)
    except REDIS_DOWN:
        return prompt


def _supersede(services: Services, session: str, prompt: Prompt) -> None:
    older = services.prompts.take_session(session, prompt.owner, prompt.id)
    if older is None:
        return
    try:
        known = services.prompts.get(older)
    except NotFound:
        return  # expired
    if not known.status.ended:
        _cancel(services, known, SUPERSEDED)


def _cancel(services: Services, prompt: Prompt, reason: str) -> Prompt:
    """Cancel an open prompt; where a worker answers it, the worker records how far it came."""
    services.prompts.cancel(prompt.id, reason)
    cancelled = prompt.model_copy(update={"status": Status.CANCELLED, "error": reason})
    if prompt.status is Status.QUEUED:
        services.prompts.save(cancelled)
        services.queues.publish("prompt", prompt.id, "status", cancelled)
        services.queues.withdraw("prompt", prompt.id, prompt.model)
    return cancelled
