"""Latency of trials while long work goes on, through the real API, Redis and one worker; see benchmarks.live.

Each entry is from the request of a trial to its first event with an accuracy, in milliseconds, while the worker does
other work: `vit_beside_smollm2_run`, `vit_beside_smollm2_check`, `smollm2_beside_vit_check` (how SmolLM2 answers while
maps of another model are checked), and `smollm2_beside_nothing` to compare the last with. `outside`: trials that ended
when that work did not go on; they are not counted.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.support.live_service import first_estimate_ms, random_off, service, spread
from modelshapley.client import Client
from modelshapley.contracts import Off, Run, RunRequest, TrialRequest
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2

VIT_RUN = RunRequest(
    model=DIGITS_VIT, task="digits", methods=["two-sided", "model-shapley", "mean-abs"], faithfulness="none"
)
SMOLLM2_RUN = RunRequest(model=SMOLLM2, task="world-capitals", methods=["mean-abs"], limit=32, faithfulness="none")
LONG_RUN = SMOLLM2_RUN.model_copy(update={"methods": ["path-shapley"], "limit": 256, "seed": 1})


def smollm2_off(rng: random.Random) -> Off:
    """One to six units of SmolLM2: 30 layers of 1,536 neurons and 9 heads."""
    neurons = {(rng.randrange(30), rng.randrange(1536)) for _ in range(rng.randrange(1, 5))}
    heads = {(rng.randrange(30), rng.randrange(9)) for _ in range(rng.randrange(3))}
    return Off(neuron=sorted(neurons), head=sorted(heads))


def trial_latency(
    api: Client, run: Run, off: Callable[[random.Random], Off], count: int, busy: Callable[[], bool]
) -> dict[str, float]:
    """Time trials of a run while `busy`; each ends before the next begins, as a person looks at an accuracy."""
    rng, times, outside = random.Random(2), list[float](), 0
    first_estimate_ms(api, TrialRequest(run=run.id, off=off(rng), session="one"))  # loads the model
    while len(times) < count and outside < count:
        time.sleep(rng.random())
        elapsed = first_estimate_ms(api, TrialRequest(run=run.id, off=off(rng), session="one"))
        if busy():
            times.append(elapsed)
        else:
            outside += 1
    return spread(times) | {"worst": round(max(times)), "outside": outside} if len(times) > 1 else {"outside": outside}


@contextmanager
def scoring(api: Client) -> Iterator[Callable[[], bool]]:
    """Score SmolLM2 while the block runs."""
    run = api.submit_run(LONG_RUN)
    until(lambda: works_on(api, f"run:{run.id}"))
    yield lambda: not api.run(run.id).status.ended
    if not api.run(run.id).status.ended:
        api.cancel_run(run.id)


@contextmanager
def checking(api: Client, run: Run) -> Iterator[Callable[[], bool]]:
    """Check the maps of a run while the block runs."""
    api.check_maps(run.id, "full")
    until(lambda: works_on(api, f"check:{run.id}"))
    yield lambda: not api.faithfulness(run.id).status.ended
    if not api.faithfulness(run.id).status.ended:
        api.cancel_check(run.id)


def works_on(api: Client, job: str) -> bool:
    return any((worker.current or "").startswith(job) for worker in api.workers())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the work to measure beside did not begin")
        time.sleep(0.05)


def measure_busy_service(count: int) -> dict[str, Any]:
    results = dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (url, _), Client(url) as api:
        vit, smollm2 = (api.wait(api.submit_run(request).id) for request in (VIT_RUN, SMOLLM2_RUN))
        with scoring(api) as busy:
            results["vit_beside_smollm2_run"] = trial_latency(api, vit, random_off, count, busy)
        with checking(api, smollm2) as busy:
            results["vit_beside_smollm2_check"] = trial_latency(api, vit, random_off, count, busy)
        results["smollm2_beside_nothing"] = trial_latency(api, smollm2, smollm2_off, count // 2, lambda: True)
        with checking(api, vit) as busy:
            results["smollm2_beside_vit_check"] = trial_latency(api, smollm2, smollm2_off, count // 2, busy)
    return results
