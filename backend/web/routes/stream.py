"""Follow a run or trial as server-sent events, without losing or repeating one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi.sse import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from backend.queue.queues import REDIS_DOWN, Events, Kind
from modelshapley.contracts import Run, Trial

WAIT_S = 5.0


async def follow(
    events: Events, kind: Kind, identifier: str, read: Callable[[], Run | Trial], last_id: str | None
) -> AsyncIterator[ServerSentEvent]:
    """The state now, then every event after it, until the run or trial has ended.

    With `last_id` (a reconnect) it goes on after that event. The record is the truth: when the stream has been
    silent for a while, or Redis is away, it is the record that tells whether all is over.
    """
    cursor = last_id
    try:
        if cursor is None:
            cursor = await events.last_id(kind, identifier)
            state = await run_in_threadpool(read)
            yield _event("status", state, cursor)
            if state.status.ended:
                return
        while True:
            silent = True
            async for event_id, event, data in events.after(kind, identifier, cursor, WAIT_S):
                silent, cursor = False, event_id
                yield ServerSentEvent(raw_data=data, event=event, id=event_id)
                if _ended(kind, data):
                    return
            if silent:
                state = await run_in_threadpool(read)
                yield _event("status" if state.status.ended else "progress", state, cursor)
                if state.status.ended:
                    return
    except REDIS_DOWN:
        # The browser and the client reconnect; their last id takes them on from services.
        return


def _event(event: str, state: Run | Trial, event_id: str) -> ServerSentEvent:
    return ServerSentEvent(raw_data=state.model_dump_json(), event=event, id=event_id)


def _ended(kind: Kind, data: str) -> bool:
    state: Run | Trial = Run.model_validate_json(data) if kind == "run" else Trial.model_validate_json(data)
    return state.status.ended
