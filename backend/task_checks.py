"""Looks at tasks before a run, kept in Redis for an hour: what was asked, and what has been found."""

from __future__ import annotations

import uuid

from redis import Redis

from modelshapley.contracts import Status
from modelshapley.errors import NotFound
from modelshapley.tasks.shown import TaskCheck, TaskCheckRequest

KEPT_S = 3600


class TaskChecks:
    """Errors: backend.queues.REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, request: TaskCheckRequest) -> TaskCheck:
        check = TaskCheck(id=uuid.uuid4().hex[:12], status=Status.QUEUED)
        self._redis.set(_asked(check.id), request.model_dump_json(exclude_unset=True), ex=KEPT_S)
        self.save(check)
        return check

    def save(self, check: TaskCheck) -> None:
        self._redis.set(_found(check.id), check.model_dump_json(), ex=KEPT_S)

    def check(self, check_id: str) -> TaskCheck:
        """Raises NotFound."""
        return TaskCheck.model_validate_json(self._read(_found(check_id), check_id))

    def request(self, check_id: str) -> TaskCheckRequest:
        """What was asked. Raises NotFound."""
        return TaskCheckRequest.model_validate_json(self._read(_asked(check_id), check_id))

    def _read(self, key: str, check_id: str) -> bytes:
        data: bytes | None = self._redis.get(key)  # type: ignore[assignment]  # the client is not asynchronous
        if data is None:
            raise NotFound(
                f"There is no check {check_id!r} of a task (any more): one is kept for an hour; ask again."
            )
        return data


def _found(check_id: str) -> str:
    return f"modelshapley:task-check:{check_id}"


def _asked(check_id: str) -> str:
    return f"modelshapley:task-check:{check_id}:request"
