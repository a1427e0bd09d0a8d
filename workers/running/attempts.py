"""How often a job has taken its worker along: counted in Redis, since the worker that would count it is gone."""

from __future__ import annotations

import time
from typing import Any

from redis import Redis

MAX_DEATHS = 3
MAX_DEATHS_AMONG_OTHERS = 9
OTHERS_WINDOW_S = 600
COUNT_TTL_S = 7 * 24 * 3600
PREFIX = "modelshapley:attempts:"
BLAMED = "modelshapley:blamed"  # {job: time} of jobs that were begun after a worker had died with them


class Attempts:
    """Starts of jobs that have neither ended nor got any further since.

    `running` are the jobs of this worker, the innermost last: trials run inside longer jobs. If the worker dies, only
    the innermost is to blame, so that the others do not count as started meanwhile.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.running: list[str] = []
        self._deaths: list[int] = []

    def begin(self, job_id: str) -> None:
        """Count a start."""
        if self.running:
            self._redis.decr(_key(self.running[-1]))
        starts: Any = self._redis.incr(_key(job_id))
        self._redis.expire(_key(job_id), COUNT_TTL_S)
        if starts > 1:
            self._redis.zadd(BLAMED, {job_id: time.time()})
            self._redis.expire(BLAMED, OTHERS_WINDOW_S)
        self.running.append(job_id)
        self._deaths.append(int(starts) - 1)

    def forget(self, job_id: str) -> None:
        """Forget the starts of a job that has ended, in an error or not."""
        self._redis.delete(_key(job_id), _stages(job_id))

    def end(self) -> None:
        """Leave the innermost job; the one around it is to blame again."""
        self.running.pop()
        self._deaths.pop()
        if self.running:
            self._redis.incr(_key(self.running[-1]))

    def progressed(self) -> None:
        """Forget all starts but the current one: the innermost job has got further than ever before."""
        if self.running:
            self._redis.set(_key(self.running[-1]), 1, ex=COUNT_TTL_S)

    def reached(self, stage: str) -> None:
        """Note a stage of the innermost job that leaves nothing behind: the first time is progress.

        A job that kills its worker does so at the same stage each time; one whose workers are killed by something else
        is rarely hit thrice before the next stage.
        """
        if self.running:
            stages = _stages(self.running[-1])
            new = self._redis.sadd(stages, stage)
            self._redis.expire(stages, COUNT_TTL_S)
            if new:
                self.progressed()

    def forgive(self) -> None:
        """Do not count the current start: this worker was told to stop."""
        for job_id in self.running:
            self._redis.delete(_key(job_id))

    @property
    def deaths(self) -> int:
        """Workers that the innermost job has taken along without getting further."""
        return self._deaths[-1] if self._deaths else 0

    @property
    def deadly(self) -> bool:
        """Whether the innermost job has taken too many workers along.

        More are allowed while workers die at other jobs as well: then something else may be killing them.
        """
        if self.deaths < MAX_DEATHS:
            return False
        self._redis.zremrangebyscore(BLAMED, 0, time.time() - OTHERS_WINDOW_S)
        others = set(self._redis.zrange(BLAMED, 0, -1)) - {self.running[-1].encode()}
        return not others or self.deaths >= MAX_DEATHS_AMONG_OTHERS


def _key(job_id: str) -> str:
    return PREFIX + job_id


def _stages(job_id: str) -> str:
    return f"{PREFIX}{job_id}:stages"
