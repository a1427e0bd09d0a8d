"""Keys take turns, however many jobs one of them has waiting."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from backend.queue.connections import connect
from backend.queue.fair_turns import place_of
from backend.queue.names import RUNS
from backend.queue.queues import Queues
from tests.support.in_process import redis_running


def queue_of(owners: str) -> str:
    """The order in which jobs of these owners, submitted in this order, wait."""
    waiting: list[str] = []
    for owner in owners:
        waiting.insert(place_of(owner, waiting), owner)
    return "".join(waiting)


def test_a_new_key_waits_for_one_job_of_each_other() -> None:
    assert queue_of("aaaab") == "abaaa"
    assert queue_of("aaaabbc") == "abcabaa"
    assert queue_of("ab" * 3) == "ababab"


@given(st.text("abc", max_size=30))
def test_whatever_comes_in_whichever_order_nobody_gets_ahead(owners: str) -> None:
    order = queue_of(owners)
    assert sorted(order) == sorted(owners)
    for end in range(len(order)):
        for owner in set(order[end:]):
            rest = [order[:end].count(other) for other in set(owners)]
            assert max(rest) - order[:end].count(owner) <= 1


def test_jobs_in_redis_wait_in_turns(tmp_path: Path) -> None:
    with redis_running(tmp_path) as url:
        queues = Queues(connect(url))
        for number in range(3):
            queues.enqueue_run(f"a{number}", owner="ada")
        queues.enqueue_run("b0", owner="bob")
        queues.enqueue_run("c0")
        queues.enqueue_run("b1", owner="bob")
        waiting = queues._queue(RUNS).get_job_ids()
        queues.redis.close()
    assert waiting == ["run-a0", "run-b0", "run-a1", "run-b1", "run-a2", "run-c0"]
