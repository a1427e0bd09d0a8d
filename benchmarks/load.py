"""Many clients at once, and the same for long: latency of every kind of request, errors, and what grows.

    python -m benchmarks.load --json [--clients 20 50] [--seconds 60] [--soak MINUTES]

One server with one worker, on loopback, in a directory of its own. Each client sends requests of all kinds at random,
one after the other, with a pause of PAUSE_S on average: lists, runs, maps, trials until their first accuracy,
estimates. `errors`: answers that are not successes, and what did not answer. `ms`: p50, p95 and p99 of all requests;
`p95_ms`: of each kind. `--soak`: 5 clients for so many minutes; `grown` is memory, descriptors, database and Redis at
the end divided by those after two minutes.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from benchmarks.chaos.service import Service
from benchmarks.support.common import report
from benchmarks.support.live_service import children, random_off, resident_mb
from modelshapley.client import Client
from modelshapley.contracts import RunRequest, TrialRequest
from modelshapley.models.catalog import DIGITS_VIT
from modelshapley.units import UnitKind

RUN = RunRequest(model=DIGITS_VIT, task="digits", methods=["two-sided"], limit=256, faithfulness="none")
PAUSE_S, SOAK_CLIENTS, SETTLED_S = 0.5, 5, 120.0


@dataclass
class Observations:
    """Milliseconds by kind of request, and errors."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def summary(self) -> dict[str, Any]:
        everything = [ms for times in self.times.values() for ms in times]
        return {
            "requests": len(everything),
            "errors": len(self.errors),
            "first_errors": self.errors[:3],
            "ms": {f"p{share}": round(float(np.percentile(everything, share)), 1) for share in (50, 95, 99)},
            "p95_ms": {kind: round(float(np.percentile(times, 95)), 1) for kind, times in sorted(self.times.items())},
        }


def requests_of(api: Client, run: str, rng: random.Random, session: str) -> dict[str, Callable[[], object]]:
    """Return one request of each kind."""

    def trial() -> None:
        submitted = api.submit_trial(TrialRequest(run=run, off=random_off(rng), session=session))
        for event in api.trial_events(submitted.id):
            if event.data.n:
                return

    return {
        "health": api.health,
        "runs": api.runs,
        "run": lambda: api.run(run),
        "map": lambda: api.importance_map(run, "two-sided", UnitKind.NEURON),
        "trial": trial,
        "estimate": lambda: api.estimate_run(RUN),
        "models": api.models,
        "run trials": lambda: api.run_trials(run),
    }


def simulate_client(url: str, run: str, number: int, deadline: float, seen: Observations) -> None:
    rng = random.Random(number)
    with Client(url) as api:
        while time.monotonic() < deadline:
            kind, send = rng.choice(list(requests_of(api, run, rng, f"client-{number}").items()))
            began = time.perf_counter()
            try:
                send()
            except Exception as error:  # noqa: BLE001  # counted and reported, whatever it is
                with seen.lock:
                    seen.errors.append(f"{kind}: {type(error).__name__}: {error}"[:200])
            with seen.lock:
                seen.times[kind].append(1000 * (time.perf_counter() - began))
            time.sleep(rng.expovariate(1 / PAUSE_S))


def load(url: str, run: str, clients: int, seconds: float, meanwhile: Callable[[], None]) -> dict[str, Any]:
    """Let so many clients work; `meanwhile` is called once they do."""
    seen, deadline = Observations(), time.monotonic() + seconds
    with ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(simulate_client, url, run, number, deadline, seen) for number in range(clients)]
        meanwhile()
        for client in working:
            client.result()
    return {"clients": clients, "seconds": seconds, **seen.summary()}


def sizes(service: Service) -> dict[str, float]:
    """Return what may grow: resident memory and descriptors of all processes, the database, and Redis, in MB."""
    (supervisor,) = service.pids("supervisor")
    pids = children(supervisor)
    database = sum(file.stat().st_size for file in service.data.glob("records.sqlite*"))
    memory: Any = Redis.from_url(service.redis_url()).info("memory")
    return {
        "memory_mb": round(resident_mb(pids), 1),
        "descriptors": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        "database_mb": round(database / 1e6, 2),
        "redis_mb": round(memory["used_memory"] / 1e6, 2),
    }


def soak(service: Service, run: str, minutes: float) -> dict[str, Any]:
    before: dict[str, float] = {}

    def settle() -> None:
        time.sleep(min(SETTLED_S, 60 * minutes / 3))
        before.update(sizes(service))

    found = load(service.url, run, SOAK_CLIENTS, 60 * minutes, settle)
    after = sizes(service)
    grown = {name: round(after[name] / value, 3) if value else None for name, value in before.items()}
    return {**found, "before": before, "after": after, "grown": grown}


def measure(clients: list[int], seconds: float, minutes: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", workers=1) as service:
        with Client(service.url) as api:
            run = api.wait(api.submit_run(RUN).id).id
        results: dict[str, Any] = {
            f"{count}_clients": load(service.url, run, count, seconds, lambda: None) for count in clients
        }
        return results | ({"soak": soak(service, run, minutes)} if minutes else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted like the other benchmarks'; the report is JSON")
    parser.add_argument("--clients", type=int, nargs="*", default=[20, 50])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    arguments = parser.parse_args()
    report({"load": measure(arguments.clients, arguments.seconds, arguments.soak)})


if __name__ == "__main__":
    main()
