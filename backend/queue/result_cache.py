"""What a worker answers in seconds, kept in Redis for an hour."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel
from redis import Redis

from modelshapley.contracts import Status
from modelshapley.contracts.examples import TrialDetails, UnitExamples
from modelshapley.contracts.tasks import TaskCheck, TaskCheckRequest
from modelshapley.errors import NotFound

RESULT_TTL_S = 3600
Answer = TypeVar("Answer", bound=BaseModel)


class ResultCache(Generic[Answer]):
    """Answers of one kind, as far as they are. noun: what one is called. Errors: backend.queues.REDIS_DOWN."""

    def __init__(self, redis: Redis, noun: str, kind: type[Answer]) -> None:
        self._redis, self._noun, self._kind = redis, noun, kind

    def save(self, identifier: str, answer: Answer) -> None:
        self._redis.set(self._key(identifier), answer.model_dump_json(), ex=RESULT_TTL_S)

    def get(self, identifier: str) -> Answer:
        """Raises NotFound."""
        return self._kind.model_validate_json(read(self._redis, self._key(identifier), f"{self._noun} {identifier!r}"))

    def _key(self, identifier: str) -> str:
        return f"modelshapley:kept:{self._kind.__name__}:{identifier}"


class TaskChecks(ResultCache[TaskCheck]):
    """Looks at tasks before a run; what was asked is no part of the answer, and kept beside it."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, "check", TaskCheck)

    def open(self, identifier: str, request: TaskCheckRequest) -> TaskCheck:
        self._redis.set(self._request_key(identifier), request.model_dump_json(exclude_unset=True), ex=RESULT_TTL_S)
        check = TaskCheck(id=identifier, status=Status.QUEUED)
        self.save(identifier, check)
        return check

    def request(self, identifier: str) -> TaskCheckRequest:
        """What was asked. Raises NotFound."""
        return TaskCheckRequest.model_validate_json(
            read(self._redis, self._request_key(identifier), f"{self._noun} {identifier!r}")
        )

    def _request_key(self, identifier: str) -> str:
        return f"{self._key(identifier)}:request"


class ResultCaches:
    """All that is asked of workers and kept for an hour. details: by the trial's id."""

    def __init__(self, redis: Redis) -> None:
        self.task_checks = TaskChecks(redis)
        self.details = ResultCache(redis, "look behind a trial", TrialDetails)
        self.unit_examples = ResultCache(redis, "look at a unit", UnitExamples)


def read(redis: Redis, key: str, noun: str) -> bytes:
    """Raises NotFound."""
    data: bytes | None = redis.get(key)  # type: ignore[assignment]  # the client is not asynchronous
    if data is None:
        raise NotFound(f"There is no {noun} (any more): it is kept for an hour; ask again.")
    return data
