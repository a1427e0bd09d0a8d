"""A cluster of many workers on one machine, without models: what the queue itself costs, and whether it is fair.

    python -m benchmarks.scale --json
    python -m benchmarks.scale --json --workers 64 --runs 1000 --seconds 8 --database postgresql+psycopg://...

Real Redis, real database, the real worker loop in so many processes; only the job is replaced: it records its progress
in STEPS steps as scoring does, and sleeps for `seconds` instead of computing. The first of KEYS keys submits half of
the runs, then the others submit theirs in turns; then the workers begin.

`enqueue_ms`: recording and queueing a run, while the queue grows. `between_ms`: from the end of a worker's run to the
begin of its next one, while runs wait. `records_ms`: what a run takes besides its sleep: records and events. `cpu_ms`:
CPU time of workers and Redis for each run, heartbeats included. `used`: share of all workers' time that was sleep,
until the last run begins. `fairness`: Jain's index of the runs that each key got, from the last submission until the
first key has no run waiting; 1 is equal, 1/KEYS is all to one. `wait_s`: from submission to begin, of the first key and
of the others. `once`: every run began once and is done.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from redis import Redis

from backend.queue.connections import REDIS_DOWN, connect, connect_patiently
from backend.queue.pending_jobs import pending_jobs
from backend.queue.queues import Queues
from backend.queue.updates import Updates
from backend.store.records import Records
from backend.store.schema import migrate
from modelshapley.contracts import Layout, RunRequest, Status, Warm
from modelshapley.server.redis_server import RedisServer
from modelshapley.units import UnitKind
from workers.running.cancelling import CancelWatch
from workers.worker import WarmWorker

SHAPES = {UnitKind.HEAD: [4, 4], UnitKind.NEURON: [4, 40], UnitKind.LAYER: [4]}
REQUEST = RunRequest(
    model="demo:digits-vit", task="digits", methods=["two-sided"], units=list(SHAPES), faithfulness="none"
)
KEYS, STEPS, BEGUN = 10, 5, "scale:begun"


def work(number: int, redis_url: str, database: str, seconds: float, go: Any) -> None:
    """Be one worker, from the event `go` until SIGTERM."""
    name = f"worker-{number}"
    queues, records = Queues(connect_patiently(redis_url)), Records(database)
    updates = Updates(records, queues)

    def score_run(run_id: str) -> None:
        began = time.time()
        run = updates.begin_run(run_id, name)
        if run is None:
            return
        for step in range(1, STEPS + 1):
            time.sleep(seconds / STEPS)
            updates.update_shard(run_id, 1, done=step, size=STEPS, rate=STEPS / seconds, total=STEPS)
        updates.update_run(run_id, "status", status=Status.DONE)
        entry = {"run": run_id, "key": run.owner, "worker": name, "began": began, "ended": time.time()}
        queues.redis.rpush(BEGUN, json.dumps(entry))

    # RQ finds the function of a job by its name, in this module instead of the one that needs torch.
    simulated = ModuleType("workers.run_jobs")
    vars(simulated)["score_run"] = score_run
    sys.modules[simulated.__name__] = simulated
    warm = Warm(model_budget=0, probe_budget=0)
    pending = partial(pending_jobs, records, queues)
    worker = WarmWorker(queues, name, lambda: warm, pending, CancelWatch(records))
    go.wait()
    worker.work(logging_level="WARNING")


def submit(records: Records, queues: Queues, runs: int) -> tuple[list[str], list[float]]:
    """Submit all runs as the API does; return their ids, and the milliseconds of each."""
    first = ["key-0"] * (runs // 2)
    others = [f"key-{1 + number % (KEYS - 1)}" for number in range(runs - len(first))]
    submitted, took = [], []
    for key in (*first, *others):
        started = time.perf_counter()
        run = records.add_run(REQUEST, SHAPES, Layout(), key)
        queues.enqueue_run(run.id, (), key)
        took.append(1000 * (time.perf_counter() - started))
        submitted.append(run.id)
    return submitted, took


def wait_for(redis: Redis, runs: int, limit_s: float) -> list[dict[str, Any]]:
    """Return what the workers noted, in the order in which the runs began. Raises RuntimeError after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while redis.llen(BEGUN) < runs:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {redis.llen(BEGUN)} of {runs} runs ended within {limit_s:.0f} s")
        time.sleep(0.1)
    noted: Any = redis.lrange(BEGUN, 0, -1)
    return sorted((json.loads(entry) for entry in noted), key=lambda entry: float(entry["began"]))


def fairness(noted: Sequence[dict[str, Any]]) -> float | None:
    """Return Jain's index of the runs that began for each key while every key had some waiting; None if none did."""
    left = Counter(entry["key"] for entry in noted)
    got: Counter[str] = Counter()
    for entry in noted:
        left[entry["key"]] -= 1
        if min(left.values()) <= 0:
            break
        got[entry["key"]] += 1
    counts = [got[key] for key in left]
    return round(sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts)), 3) if any(counts) else None


def spread(values: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (50, 95, 100)}


def summary(noted: Sequence[dict[str, Any]], workers: int, seconds: float) -> dict[str, Any]:
    by_worker = defaultdict(list)
    for entry in noted:
        by_worker[entry["worker"]].append(entry)
    between = [
        1000 * (after["began"] - before["ended"])
        for entries in by_worker.values()
        for before, after in pairwise(entries)
    ]
    # The last run of a worker is followed by nothing; until the last begin, every worker could have had one.
    begin, last = noted[0]["began"], noted[-1]["began"]
    slept = sum(min(seconds, last - entry["began"]) for entry in noted)
    waits = defaultdict(list)
    for entry in noted:
        waits["first" if entry["key"] == "key-0" else "others"].append(entry["began"] - begin)
    return {
        "between_ms": spread(between),
        "records_ms": spread([1000 * (entry["ended"] - entry["began"] - seconds) for entry in noted]),
        "used": round(slept / (workers * (last - begin)), 3) if last > begin else None,
        "runs_per_s": round(len(noted) / (noted[-1]["ended"] - begin), 2),
        "fairness": fairness(noted),
        "wait_s": {who: spread(values) for who, values in waits.items()},
        "workers_used": len(by_worker),
    }


def measure(workers: int, runs: int, seconds: float, data: Path, database: str) -> dict[str, Any]:
    plan = RedisServer.plan(data)
    server = plan.start()
    processes: list[Any] = []
    try:
        redis = connected(plan.url)
        migrate(database)
        queues, records = Queues(redis), Records(database)
        submitted, took = submit(records, queues, runs)
        records.close()  # connections do not survive a fork
        fork = multiprocessing.get_context("fork")
        go = fork.Event()
        for number in range(workers):
            process = fork.Process(target=work, args=(number, plan.url, database, seconds, go))
            process.start()
            processes.append(process)
        before = redis.info()
        go.set()
        noted = wait_for(redis, runs, 60 + 5 * runs * (seconds + 0.5) / workers)
        after: Any = redis.info()
        records = Records(database)
        done = all(records.run(run_id).status is Status.DONE for run_id in submitted)
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGTERM)
        for process in processes:
            process.join()
        server.terminate()
        server.wait()
    redis_s = sum(after[part] - before[part] for part in ("used_cpu_user", "used_cpu_sys"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "enqueue_ms": spread(took),
        **summary(noted, workers, seconds),
        "cpu_ms": {
            "redis": round(1000 * redis_s / runs, 2),
            "workers": round(1000 * (children.ru_utime + children.ru_stime - redis_s) / runs, 2),
        },
        "redis_commands": round((after["total_commands_processed"] - before["total_commands_processed"]) / runs, 1),
        "redis_mb": round(after["used_memory_peak"] / 2**20, 1),
        "once": done and len({entry["run"] for entry in noted}) == len(noted) == runs,
    }


def connected(url: str) -> Redis:
    """Connect to a server that is just starting."""
    for _ in range(100):
        try:
            redis = connect(url)
            redis.ping()
            return redis
        except REDIS_DOWN:
            time.sleep(0.05)
    raise RuntimeError("Redis does not answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8.0, help="sleep of each run")
    parser.add_argument("--database", help="URL; default: SQLite in a folder of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or f"sqlite:///{folder}/records.db"
        results = measure(options.workers, options.runs, options.seconds, Path(folder), database)
    shape = {"workers": options.workers, "runs": options.runs, "seconds": options.seconds, "keys": KEYS}
    kind = database.partition(":")[0].partition("+")[0]
    print(
        json.dumps(results | shape | {"database": kind, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)})
    )


if __name__ == "__main__":
    main()
