"""Trials of closed pages end; others, and those of scripts, do not. Who waits is told for what."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import redis

from backend.queue.leases import lease_key
from modelshapley.client import Client
from modelshapley.contracts import Off, Status, TrialRequest
from tests.conftest import DIGITS_RUN, StartServer
from tests.support.in_process import redis_running


def test_a_trial_ends_with_its_page_alone(start_server: StartServer, tmp_path: Path) -> None:
    with redis_running(tmp_path) as url:
        server = start_server(MODELSHAPLEY_REDIS_URL=url)
        with Client(server.url) as api:
            run = api.wait(api.submit_run(DIGITS_RUN.model_copy(update={"faithfulness": "none"})).id)
            (worker,) = api.workers()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGSTOP)  # so that the trials wait
            closed, followed, script = (
                api.submit_trial(TrialRequest(run=run.id, off=Off(head=[(layer, 0)]), lease=lease)).id
                for layer, lease in enumerate((True, True, False))
            )
            waiting = [api.trial(trial).waiting for trial in (closed, followed, script)]
            for unit in range(4):  # of one session, as while a slider is dragged: each replaces the one before
                newest = api.submit_trial(TrialRequest(run=run.id, off=Off(head=[(3, unit)]), session="tab")).id
            behind = api.trial(newest).waiting
            connection = redis.Redis.from_url(url)
            connection.delete(lease_key(closed), lease_key(script))  # as after LEASE_S without a follower
            once_closed = api.trial(newest).waiting
            os.kill(worker.pid, signal.SIGCONT)
            states = {trial: list(api.trial_events(trial))[-1].data for trial in (followed, closed, script)}
            connection.close()
        server.stop()
    ahead = [state.ahead for state in waiting if state is not None]
    assert ahead in ([0, 1, 2], [0, 0, 1])  # where Redis had handed the first to the worker before it was stopped
    assert behind is not None
    assert behind.ahead == ahead[-1] + 1, "superseded trials are in nobody's way"
    assert once_closed is not None
    assert once_closed.ahead == 2, "nor are those of closed pages"
    assert states[closed].status is Status.CANCELLED
    assert "closed" in (states[closed].error or "")
    assert states[followed].status is states[script].status is Status.DONE
