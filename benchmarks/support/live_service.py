"""Latency of trials through the real API, Redis and one worker; see benchmarks.live.

`first_estimate_ms`: from the request of a trial on the digits ViT to its first event with an accuracy, while runs
of the ViT are scored one after the other on the same worker. `supersede_ms`: 20 requests of one session in a row,
nothing waited for; from the last one to its first accuracy. `clients`: so many people toggle at random for
`seconds`, and half the time do not wait for the end: `errors`, `crossed` (an event of another trial, or out of
order), `lost` (a followed trial whose end was never told, or told otherwise than it is recorded), `wrong` (an
accuracy that is not that of this process's own evaluation), and resident memory of worker and web server at the
end by that after a third of the time.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelshapley import load_task
from modelshapley.client import Client
from modelshapley.contracts import Off, RunRequest, Status, Trial, TrialRequest
from modelshapley.evaluation.trials import all_answers
from modelshapley.models.catalog import DIGITS_VIT, Catalog
from modelshapley.models.loading import load

RUN = RunRequest(model=DIGITS_VIT, task="digits", methods=["two-sided", "model-shapley"], faithfulness="none")
CLICKS_IN_A_ROW = 20


@contextmanager
def service(data: Path) -> Iterator[tuple[str, int]]:
    """Start a server with one worker; yield its URL and process id."""
    command = [sys.executable, "-m", "modelshapley.cli", "up", "--port", "0", "--data", str(data)]
    with (data / "up.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("ready "):
                raise RuntimeError(f"no server; {(data / 'up.log').read_text()[-2000:]}")
            yield line.split()[1], process.pid
        finally:
            process.terminate()
            process.wait(timeout=30)


def random_off(rng: random.Random) -> Off:
    """One to six units of the digits ViT."""
    neurons = {(rng.randrange(4), rng.randrange(40)) for _ in range(rng.randrange(1, 5))}
    heads = {(rng.randrange(4), rng.randrange(4)) for _ in range(rng.randrange(3))}
    return Off(neuron=sorted(neurons), head=sorted(heads))


def first_estimate_ms(api: Client, request: TrialRequest) -> float:
    sent = time.perf_counter()
    for event in api.trial_events(api.submit_trial(request).id):
        if event.data.n:
            return 1000 * (time.perf_counter() - sent)
    raise RuntimeError("a trial ended without an accuracy")


@contextmanager
def always_scoring(url: str) -> Iterator[list[str]]:
    """Score one run after the other while the block runs; yield the list of their ids."""
    stop, run_ids = threading.Event(), list[str]()

    def score() -> None:
        with Client(url) as api:
            while not stop.is_set():
                runs = [api.submit_run(RUN.model_copy(update={"seed": len(run_ids) + n})).id for n in range(2)]
                run_ids.extend(runs)
                api.wait(runs[0])

    thread = threading.Thread(target=score)
    thread.start()
    time.sleep(1)
    try:
        yield run_ids
    finally:
        stop.set()
        thread.join()


def spread(values: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(values, n=20)
    return {"p50": round(statistics.median(values)), "p95": round(cut[-1]), "n": len(values)}


@dataclass
class Observations:
    """Observations of all clients. final: accuracy by the JSON of the deactivation."""

    trials: int = 0
    events: int = 0
    errors: list[str] = field(default_factory=list)
    crossed: int = 0
    lost: int = 0
    final: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def simulate_client(url: str, run: str, number: int, deadline: float, seen: Observations) -> None:
    rng = random.Random(number)
    with Client(url) as api:
        while time.monotonic() < deadline:
            try:
                toggle(api, TrialRequest(run=run, off=random_off(rng), session=f"client-{number}"), rng, seen)
            except Exception as error:  # noqa: BLE001  # counted and reported, whatever it is
                with seen.lock:
                    seen.errors.append(f"{type(error).__name__}: {error}"[:200])


def toggle(api: Client, request: TrialRequest, rng: random.Random, seen: Observations) -> None:
    trial = api.submit_trial(request)
    patient, last, events, crossed = rng.random() < 0.5, -1, 0, 0
    state: Trial = trial
    for event in api.trial_events(trial.id):
        state, events = event.data, events + 1
        crossed += event.data.id != trial.id or event.data.sequence < last
        last = event.data.sequence
        if not patient and event.data.n:
            break
    with seen.lock:
        seen.trials, seen.events, seen.crossed = seen.trials + 1, seen.events + events, seen.crossed + crossed
        if patient:
            recorded = api.trial(trial.id)
            seen.lost += (state.status, state.accuracy) != (recorded.status, recorded.accuracy)
            if recorded.status is Status.DONE and recorded.accuracy is not None:
                seen.final[request.off.model_dump_json() if request.off else ""] = recorded.accuracy


def resident_mb(pids: list[int]) -> float:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children(pid: int) -> list[int]:
    pids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return pids + [grandchild for child in pids for grandchild in children(child)]


def count_wrong(final: dict[str, float], sample: int = 60) -> int:
    """Return how many accuracies differ from this process's own evaluation."""
    loaded, task = load(Catalog(Path(".data")).folder(DIGITS_VIT)), load_task("digits")
    chosen = random.Random(0).sample(sorted(final), min(sample, len(final)))
    offs = {off: Off.model_validate_json(off).deactivation() for off in chosen}
    ours = {off: float(all_answers(loaded, task, units).mean()) for off, units in offs.items()}
    return sum(abs(ours[off] - final[off]) > 1e-9 for off in chosen)


def measure_service(clients: int, seconds: float, clicks: int = 100) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (url, pid), Client(url) as api:
        run = api.wait(api.submit_run(RUN).id).id
        rng = random.Random(1)
        requests = [TrialRequest(run=run, off=random_off(rng), session="one") for _ in range(clicks)]
        first_estimate_ms(api, requests[0])
        idle = [first_estimate_ms(api, request) for request in requests[1 : clicks // 2]]
        with always_scoring(url) as runs:
            busy = []
            for _ in range(clicks):
                time.sleep(rng.random() / 10)
                busy.append(first_estimate_ms(api, TrialRequest(run=run, off=random_off(rng), session="one")))
            superseding = []
            for _ in range(clicks // 4):
                for _ in range(CLICKS_IN_A_ROW - 1):
                    api.submit_trial(TrialRequest(run=run, off=random_off(rng), session="one"))
                superseding.append(first_estimate_ms(api, TrialRequest(run=run, off=random_off(rng), session="one")))
            scored = sum(api.run(client).status is Status.DONE for client in runs)
        seen, pids = Observations(), children(pid)
        deadline = time.monotonic() + seconds
        with ThreadPoolExecutor(clients) as pool:
            clients_running = [
                pool.submit(simulate_client, url, run, number, deadline, seen) for number in range(clients)
            ]
            time.sleep(seconds / 3)
            memory_before = resident_mb(pids)
            for client in clients_running:
                client.result()
        return {
            "first_estimate_ms": spread(busy),
            "first_estimate_idle_ms": spread(idle),
            "supersede_ms": spread(superseding),
            "runs_scored_meanwhile": scored,
            "clients": {
                "clients": clients,
                "seconds": seconds,
                "trials": seen.trials,
                "events": seen.events,
                "errors": len(seen.errors),
                "first_errors": seen.errors[:3],
                "crossed": seen.crossed,
                "lost": seen.lost,
                "wrong": count_wrong(seen.final),
                "memory_ratio": round(resident_mb(pids) / memory_before, 3),
                "memory_mb": round(resident_mb(pids)),
            },
        }
