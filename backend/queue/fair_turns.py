"""Fair turns between keys: a new job goes behind as many jobs of each other key as its own key has waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rq import Queue
from rq.job import Job

OWNER = "owner"  # in a job's meta: name of the key
# One step for Redis, since workers take jobs meanwhile. Where the job before which this one belongs has been taken, so
# have all before it.
MOVE = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
if redis.call('LINSERT', KEYS[1], 'BEFORE', ARGV[2], ARGV[1]) < 1 then redis.call('LPUSH', KEYS[1], ARGV[1]) end
return 1
"""


def take_turn(queue: Queue, job_id: str, owner: str) -> None:
    """Move a job from the end of its queue to the turn of its owner. Errors: REDIS_DOWN."""
    waiting = [name for name in queue.get_job_ids() if name != job_id]
    place = place_of(owner, _owners(queue, waiting))
    if place < len(waiting):
        queue.connection.eval(MOVE, 1, queue.key, job_id, waiting[place])


def _owners(queue: Queue, waiting: Sequence[str]) -> list[str]:
    """Return the owners of waiting jobs, '' for those without.

    It reads one field of each, since whole jobs take ten times as long.
    """
    with queue.connection.pipeline(transaction=False) as pipeline:
        for job_id in waiting:
            pipeline.hget(Job.key_for(job_id), "meta")
        metas = pipeline.execute()
    return [str(queue.serializer.loads(meta).get(OWNER, "")) if meta else "" for meta in metas]


def place_of(owner: str, waiting: Sequence[str]) -> int:
    """Return the place of an owner's new job among waiting jobs, given by their owners.

    An owner with n waiting jobs gets the place behind the first n + 1 jobs of each other owner.
    """
    mine = sum(name == owner for name in waiting)
    seen: Counter[str] = Counter()
    last_mine = max((place for place, name in enumerate(waiting) if name == owner), default=-1)
    for place, name in enumerate(waiting):
        if place > last_mine and seen[name] > mine:
            return place
        seen[name] += 1
    return len(waiting)
