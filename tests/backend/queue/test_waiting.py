"""What a queued trial or prompt waits for, as a sentence."""

from __future__ import annotations

import pytest

from backend.queue.waiting import queue_sentence


@pytest.mark.parametrize(
    ("ahead", "busy_with", "eta_s", "sentence"),
    [
        (0, None, None, "waiting for a worker …"),
        (2, None, None, "waiting: 2 ahead in the queue …"),
        (1, "run:abc:2", 40.0, "waiting: one ahead in the queue; a worker scores run abc, about 40 s left …"),
        (0, "trial:t", None, "waiting: a worker measures another trial …"),
        (0, "prompt:p", None, "waiting: a worker answers another prompt …"),
        (0, "derive:d", None, "waiting: a worker makes or probes a model …"),
    ],
)
def test_who_waits_is_told_for_what_and_for_how_long(
    ahead: int, busy_with: str | None, eta_s: float | None, sentence: str
) -> None:
    assert queue_sentence(ahead, busy_with, eta_s) == sentence
