"""Caches of results that workers compute in seconds; Redis keeps them for an hour."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel
from redis import Redis

from modelshapley.contracts import Status
from modelshapley.contracts.applications.derived import SizePrediction
from modelshapley.contracts.task_files.descriptions import TaskCheck, TaskCheckRequest
from modelshapley.contracts.task_files.examples import TrialDetails, UnitExamples
from modelshapley.errors import NotFound

RESULT_TTL_S = 3600
Result = TypeVar("Result", bound=BaseModel)


class ResultCache(Generic[Result]):
    """Cache of results of one kind, finished or not. noun: name of one. Errors: connections.REDIS_DOWN."""

    def __init__(self, redis: Redis, noun: str, kind: type[Result]) -> None:
        self._redis, self._noun, self._kind = redis, noun, kind

    def save(self, identifier: str, answer: Result) -> None:
        self._redis.set(self._key(identifier), answer.model_dump_json(), ex=RESULT_TTL_S)

    def get(self, identifier: str) -> Result:
        """Return a result. Raises NotFound."""
        return self._kind.model_validate_json(read(self._redis, self._key(identifier), f"{self._noun} {identifier!r}"))

    def _key(self, identifier: str) -> str:
        return f"modelshapley:kept:{self._kind.__name__}:{identifier}"


class TaskChecks(ResultCache[TaskCheck]):
    """Cache of task previews; the request is not part of the result, and is stored next to it."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, "check", TaskCheck)

    def open(self, identifier: str, request: TaskCheckRequest) -> TaskCheck:
        """Store a request, and a queued result for it."""
        self._redis.set(self._request_key(identifier), request.model_dump_json(exclude_unset=True), ex=RESULT_TTL_S)
        check = TaskCheck(id=identifier, status=Status.QUEUED)
        self.save(identifier, check)
        return check

    def request(self, identifier: str) -> TaskCheckRequest:
        """Return the request. Raises NotFound."""
        return TaskCheckRequest.model_validate_json(
            read(self._redis, self._request_key(identifier), f"{self._noun} {identifier!r}")
        )

    def _request_key(self, identifier: str) -> str:
        return f"{self._key(identifier)}:request"


class ResultCaches:
    """Caches of everything that workers compute on request. details: by the trial's id."""

    def __init__(self, redis: Redis) -> None:
        self.task_checks = TaskChecks(redis)
        self.details = ResultCache(redis, "details of trial", TrialDetails)
        self.sizes = ResultCache(redis, "prediction", SizePrediction)
        self.unit_examples = ResultCache(redis, "unit examples", UnitExamples)


def read(redis: Redis, key: str, noun: str) -> bytes:
    """Read a key. Raises NotFound."""
    data: bytes | None = redis.get(key)  # type: ignore[assignment]  # the client is not asynchronous
    if data is None:
        raise NotFound(f"There is no {noun}: results are kept for an hour; request it again.")
    return data
