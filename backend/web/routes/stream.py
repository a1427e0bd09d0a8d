"""Server-sent events of a run, trial or prompt, without losing or repeating one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import HTTPException
from fastapi.sse import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from backend.queue.connections import MAX_STREAMS, REDIS_DOWN
from backend.queue.event_streams import Events, Kind
from backend.web.dependencies import ServicesDep
from backend.web.problems import RETRY_AFTER_S
from modelshapley.contracts import Run, Trial
from modelshapley.contracts.prompts import Prompt

State = Run | Trial | Prompt
POLL_RECORD_S = 5.0
KINDS: dict[Kind, type[State]] = {"run": Run, "trial": Trial, "prompt": Prompt}


async def reserve_stream(services: ServicesDep) -> AsyncIterator[None]:
    """Reserve one of the event streams of this server until the response has ended. Raises HTTPException 503."""
    if services.events.streams >= MAX_STREAMS:
        raise HTTPException(
            503,
            f"This server already sends {MAX_STREAMS} event streams; close some pages, or poll the record instead.",
            headers={"Retry-After": RETRY_AFTER_S},
        )
    services.events.streams += 1
    try:
        yield
    finally:
        services.events.streams -= 1


async def follow(
    events: Events, kind: Kind, identifier: str, read: Callable[[], State], last_id: str | None
) -> AsyncIterator[ServerSentEvent]:
    """Yield the current state, then every later event, until the run, trial or prompt has ended.

    A prompt's events add tokens to its text, so that all of them follow, also those before. With `last_id` (a
    reconnect) it continues after that event. The record is authoritative: when the stream has been silent for a while,
    or Redis is down, the record decides whether it has ended.
    """
    cursor = last_id
    try:
        if cursor is None:
            cursor = "0-0" if kind == "prompt" else await events.last_id(kind, identifier)
            state = await run_in_threadpool(read)
            yield _event("status", state, cursor)
            if state.status.ended:
                return
        while True:
            if kind != "run":
                await events.renew_lease(identifier)
            silent = True
            async for event_id, event, data in events.after(kind, identifier, cursor, POLL_RECORD_S):
                silent, cursor = False, event_id
                yield ServerSentEvent(raw_data=data, event=event, id=event_id)
                if event == "status" and _ended(kind, data):
                    return
            if silent:
                state = await run_in_threadpool(read)
                yield _event("status" if state.status.ended else "progress", state, cursor)
                if state.status.ended:
                    return
    except REDIS_DOWN:
        # Browsers and clients reconnect, and continue from their last id.
        return


def _event(event: str, state: State, event_id: str) -> ServerSentEvent:
    return ServerSentEvent(raw_data=state.model_dump_json(), event=event, id=event_id)


def _ended(kind: Kind, data: str) -> bool:
    return KINDS[kind].model_validate_json(data).status.ended
