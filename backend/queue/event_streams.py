"""An event stream in Redis for each run, trial and prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import BaseModel
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError

from backend.queue.leases import LEASE_S, lease_key
from modelshapley.contracts import Status

MAX_EVENTS = 1000
EVENTS_TTL_S = 24 * 3600
ENDED_TTL_S = 3600  # of the events of what has ended: whoever reconnects later reads the record

Kind = Literal["run", "trial", "prompt"]
StreamEvent = Literal["progress", "status", "tokens"]


def append_event(
    redis: Redis, kind: Kind, identifier: str, event: StreamEvent, data: BaseModel, sequence: int = 0
) -> None:
    """Append an event to the stream of a run, trial or prompt; the newest MAX_EVENTS stay for a day, or an
    hour once it has ended.

    sequence: number of a numbered event; one that arrives after its successor is outdated and skipped.
    """
    key, ended = _stream(kind, identifier), getattr(data, "status", Status.QUEUED).ended
    with redis.pipeline() as pipeline:
        pipeline.xadd(
            key,
            {"event": event, "data": data.model_dump_json()},
            id=f"{sequence}-0" if sequence else "*",
            maxlen=MAX_EVENTS,
            approximate=True,
        )
        pipeline.expire(key, ENDED_TTL_S if ended else EVENTS_TTL_S)
        added, _ = pipeline.execute(raise_on_error=False)
    if isinstance(added, ResponseError) and sequence and "equal or smaller" in str(added):
        return
    if isinstance(added, Exception):
        raise added


class Events:
    """Reader of the event streams, for the event loop."""

    def __init__(self, redis: AsyncRedis) -> None:
        self.redis = redis
        self.streams = 0  # being sent now

    async def renew_lease(self, trial_id: str) -> None:
        """Note that somebody follows a trial or prompt."""
        await self.redis.set(lease_key(trial_id), 1, ex=LEASE_S)

    async def last_id(self, kind: Kind, identifier: str) -> str:
        """Return the id of the newest event, '0-0' before the first."""
        newest = await self.redis.xrevrange(_stream(kind, identifier), count=1)
        return str(newest[0][0]) if newest else "0-0"

    async def after(
        self, kind: Kind, identifier: str, last_id: str, wait_s: float
    ) -> AsyncIterator[tuple[str, str, str]]:
        """Yield (id, event, data) of the events after `last_id`; wait up to `wait_s` for the first."""
        key = _stream(kind, identifier)
        streams: Any = await self.redis.xread({key: last_id}, block=int(wait_s * 1000), count=100)
        for _, entries in streams or []:
            for event_id, fields in entries:
                yield str(event_id), fields["event"], fields["data"]


def _stream(kind: Kind, identifier: str) -> str:
    return f"modelshapley:events:{kind}:{identifier}"
