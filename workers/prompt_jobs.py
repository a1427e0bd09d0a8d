"""Jobs of prompts by hand: write an answer, intact and with units off, and score all units for it.

They are queued by name with an id and a turn; Redis holds the rest. A job may start twice (because its worker was
killed): it continues after the tokens that were stored. Nothing of a prompt is logged.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

from backend.queue.prompts import MAX_MAP_BYTES
from modelshapley.contracts import Status
from modelshapley.contracts.prompts import Prompt, PromptColumn, PromptMap, PromptRequest
from modelshapley.errors import BadPrompt, ModelShapleyError, NotFound
from modelshapley.interventions.gates import changes_of
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.prompts.answer_task import picture_task, text_task
from modelshapley.prompts.comparing import compare_answer
from modelshapley.prompts.pictures import class_names, compare_picture
from modelshapley.prompts.reading import read_prompt
from modelshapley.prompts.writing import Changes, Writing
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.catalog import TaskCatalog
from workers.context import WorkerContext, get_context
from workers.running.failures import failures_recorded

log = logging.getLogger(__name__)
PAGE_CLOSED = "its page was closed"


def answer_prompt(prompt_id: str, turn: int = 0) -> None:
    """Answer an open prompt until it has ended, or until its turn is over and other short work waits."""
    context = get_context()
    try:
        prompt, request = context.prompts.get(prompt_id), context.prompts.request(prompt_id)
    except NotFound:
        log.info("prompt %s has expired", prompt_id)
        return
    if prompt.status.ended or turn < context.prompts.turn(prompt_id):
        return

    def fail(error: str) -> None:
        _publish(context, context.prompts.get(prompt_id), status=Status.FAILED, error=error)

    with failures_recorded(fail):
        if not _is_wanted(context, prompt, request):
            return
        loaded, changes = _model_of(context, prompt, request)
        with context.warm.in_use(prompt.model):
            if request.image is not None:
                _compare_picture(context, prompt, request, loaded, changes)
            else:
                _write(context, prompt, request, loaded, changes)


def _model_of(context: WorkerContext, prompt: Prompt, request: PromptRequest) -> tuple[LoadedModel, Changes | None]:
    """Return the model, and what the second column changes; None without units."""
    deactivation = request.off.deactivation(request.treatment)
    if prompt.run is None:
        loaded = context.warm.model(prompt.model)
        return loaded, changes_of(loaded.anatomy, deactivation) if len(deactivation) else None
    run = context.records.run(prompt.run)
    loaded = context.scored_model(run)
    if not len(deactivation):
        return loaded, None
    needs_task = deactivation.treatment.how != "scale"
    activations = context.activations(run, loaded, context.scored_task(run), deactivation) if needs_task else None
    return loaded, changes_of(loaded.anatomy, deactivation, activations)


def _write(
    context: WorkerContext, prompt: Prompt, request: PromptRequest, loaded: LoadedModel, changes: Changes | None
) -> None:
    began = time.monotonic()
    read = read_prompt(loaded, request.prompt or "", request)
    written = [prompt.intact, prompt.changed or PromptColumn()]
    writing = context.parked.take(prompt.id, loaded) or Writing(
        loaded, read.tokens, read.limit, request, changes, written
    )
    prompt = _publish(
        context,
        prompt,
        status=Status.RUNNING,
        rendered=read.rendered,
        prompt_tokens=len(read.tokens),
        intact=writing.intact,
        changed=writing.changed,
    )
    for step in writing.steps():
        if not _is_wanted(context, prompt, request, writing):
            return
        context.queues.publish("prompt", prompt.id, "tokens", step)
        if context.turns.over(began) and not writing.finished:
            context.parked.park(prompt.id, loaded, writing)
            context.prompts.save(prompt.model_copy(update=_columns(writing)))
            turn = context.prompts.next_turn(prompt.id)
            context.queues.enqueue_prompt(prompt.id, prompt.model, turn, prompt.owner)
            return
    tokens = writing.intact.tokens
    comparison = compare_answer(loaded, read.tokens, [token.id for token in tokens], changes or ())
    context.prompts.comparisons.save(prompt.id, comparison)
    with suppress(BadPrompt):  # an answer without text has no map
        task = text_task(f"answer-{prompt.id}", request.prompt or "", request.chat, tokens)
        context.prompts.save_task(prompt.id, task)
    _publish(context, prompt, status=Status.DONE, **_columns(writing))


def _compare_picture(
    context: WorkerContext, prompt: Prompt, request: PromptRequest, loaded: LoadedModel, changes: Changes | None
) -> None:
    prompt = _publish(context, prompt, status=Status.RUNNING)
    image = request.image or ""
    comparison = compare_picture(loaded, image, changes or ())
    context.prompts.comparisons.save(prompt.id, comparison)
    task = picture_task(f"answer-{prompt.id}", image, comparison.positions[0].id, class_names(loaded))
    context.prompts.save_task(prompt.id, task)
    _publish(context, prompt, status=Status.DONE)


def _columns(writing: Writing) -> dict[str, PromptColumn | None]:
    return {"intact": writing.intact, "changed": writing.changed}


def _is_wanted(context: WorkerContext, prompt: Prompt, request: PromptRequest, writing: Writing | None = None) -> bool:
    """Return whether somebody still waits for a prompt; else record it as cancelled, with what is written."""
    reason = context.prompts.cancelled(prompt.id)
    if reason is None and request.lease and not context.leases.held(prompt.id):
        reason = PAGE_CLOSED
    if reason is None:
        return True
    columns = _columns(writing) if writing is not None else {}
    _publish(context, prompt, status=Status.CANCELLED, error=reason, **columns)
    return False


def _publish(context: WorkerContext, prompt: Prompt, **values: Any) -> Prompt:
    """Store a changed prompt, then publish it."""
    prompt = prompt.model_copy(update=values)
    context.prompts.save(prompt)
    context.queues.publish("prompt", prompt.id, "status", prompt)
    return prompt


def map_answer(prompt_id: str) -> None:
    """Score all units for the answer of the intact model."""
    context = get_context()
    maps = context.prompts.maps
    try:
        state, prompt = maps.get(prompt_id), context.prompts.get(prompt_id)
    except NotFound:
        log.info("prompt %s has expired", prompt_id)
        return

    def save(**values: Any) -> PromptMap:
        updated = state.model_copy(update=values)
        maps.save(prompt_id, updated)
        return updated

    save(status=Status.RUNNING)
    with failures_recorded(lambda error: save(status=Status.FAILED, error=error)):
        loaded = context.warm.model(prompt.model)
        with context.warm.in_use(prompt.model):
            task = TaskCatalog().open(context.prompts.task(prompt_id))
            task.check(loaded)
            method = load_method(state.method)
            pause = context.turns.yield_to_trials
            scored = score(Scoring(loaded, task, [method], state.units, 1, pause=pause))[method.spec]
            data = scored.to_bytes()
        if len(data) > MAX_MAP_BYTES:
            raise ModelShapleyError(
                f"The map has {len(data):,} bytes, and at most {MAX_MAP_BYTES:,} are kept without a run; choose fewer "
                "kinds of unit, or keep the answer as a run."
            )
        context.prompts.save_map(prompt_id, data)
        save(status=Status.DONE)
