"""Prompts by hand, which live in Redis for an hour: request, state, comparison and map. Web-free, used by workers too.

Nothing of a prompt is in the database or the logs.
"""

from __future__ import annotations

import json
import time
from typing import Any

from redis import Redis
from rq.utils import as_text

from backend.queue.result_cache import RESULT_TTL_S, ResultCache, read
from modelshapley.contracts import Status
from modelshapley.contracts.prompts import Prompt, PromptComparison, PromptMap, PromptRequest
from modelshapley.contracts.task_files.file import TaskFile, parse

MAX_MAP_BYTES = 64 * 2**20  # of one map in Redis; a larger one can be kept as a run
SUPERSEDED = "superseded by a newer prompt of the same session"


class Prompts:
    """Prompts in Redis. maps: their states; the bytes of a map are apart. Errors: connections.REDIS_DOWN."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._states = ResultCache(redis, "prompt", Prompt)
        self.comparisons = ResultCache(redis, "comparison of prompt", PromptComparison)
        self.maps = ResultCache(redis, "map of prompt", PromptMap)

    def open(self, prompt: Prompt, request: PromptRequest) -> None:
        """Store a request, and the queued state for it."""
        self._redis.set(_key(prompt.id, "request"), request.model_dump_json(exclude_unset=True), ex=RESULT_TTL_S)
        self.save(prompt)

    def get(self, prompt_id: str) -> Prompt:
        """Return the state of a prompt. Raises NotFound."""
        return self._states.get(prompt_id)

    def request(self, prompt_id: str) -> PromptRequest:
        """Return the request of a prompt. Raises NotFound."""
        return PromptRequest.model_validate_json(read(self._redis, _key(prompt_id, "request"), f"prompt {prompt_id!r}"))

    def save(self, prompt: Prompt) -> None:
        """Store the state of a prompt, and count it as its owner's open work until it has ended."""
        self._states.save(prompt.id, prompt)
        self._redis.expire(_key(prompt.id, "request"), RESULT_TTL_S)
        if prompt.owner is not None:
            if prompt.status.ended:
                self._redis.zrem(_open_key(prompt.owner), prompt.id)
            else:
                self._redis.zadd(_open_key(prompt.owner), {prompt.id: time.time()})
                self._redis.expire(_open_key(prompt.owner), RESULT_TTL_S)

    def open_of(self, owner: str) -> int:
        """Return how many prompts of a key are queued or being answered."""
        self._redis.zremrangebyscore(_open_key(owner), 0, time.time() - RESULT_TTL_S)
        count: Any = self._redis.zcard(_open_key(owner))
        return int(count)

    def drop(self, prompt: Prompt) -> None:
        """Forget a prompt that could not be queued."""
        self.save(prompt.model_copy(update={"status": Status.CANCELLED}))
        self._redis.delete(_key(prompt.id, "request"))

    def cancel(self, prompt_id: str, reason: str) -> None:
        """Ask the worker to stop between two tokens."""
        self._redis.set(_key(prompt_id, "cancelled"), reason, ex=RESULT_TTL_S)

    def cancelled(self, prompt_id: str) -> str | None:
        """Return why a prompt was cancelled; None if it was not."""
        reason: Any = self._redis.get(_key(prompt_id, "cancelled"))
        return None if reason is None else as_text(reason)

    def take_session(self, session: str, owner: str | None, prompt_id: str) -> str | None:
        """Make this the newest prompt of a session; return the one before it, if there is one."""
        key = f"modelshapley:prompt-session:{owner or ''}:{session}"
        older: Any = self._redis.set(key, prompt_id, ex=RESULT_TTL_S, get=True)
        return None if older is None else as_text(older)

    def turn(self, prompt_id: str) -> int:
        """Return the number of the current turn of a prompt: a job of an earlier one is over."""
        turn: Any = self._redis.get(_key(prompt_id, "turn"))
        return int(turn or 0)

    def next_turn(self, prompt_id: str) -> int:
        """Begin the next turn of a prompt, and return its number."""
        turn: Any = self._redis.incr(_key(prompt_id, "turn"))
        self._redis.expire(_key(prompt_id, "turn"), RESULT_TTL_S)
        return int(turn)

    def save_task(self, prompt_id: str, task: TaskFile) -> None:
        """Store the task of an answer, by which it is scored and kept."""
        self._redis.set(_key(prompt_id, "task"), task.model_dump_json(exclude_unset=True), ex=RESULT_TTL_S)

    def task(self, prompt_id: str) -> TaskFile:
        """Return the task of an answer. Raises NotFound."""
        data = read(self._redis, _key(prompt_id, "task"), f"scorable answer of prompt {prompt_id!r}")
        task: TaskFile = parse(json.loads(data), f"of prompt {prompt_id}")
        return task

    def save_map(self, prompt_id: str, data: bytes) -> None:
        """Store the bytes of a map, at most MAX_MAP_BYTES."""
        self._redis.set(_key(prompt_id, "map"), data, ex=RESULT_TTL_S)

    def load_map(self, prompt_id: str) -> bytes:
        """Return the bytes of a map. Raises NotFound."""
        return read(self._redis, _key(prompt_id, "map"), f"map of prompt {prompt_id!r}")


def _key(prompt_id: str, part: str) -> str:
    return f"modelshapley:prompt:{prompt_id}:{part}"


def _open_key(owner: str) -> str:
    return f"modelshapley:prompts-open:{owner}"
