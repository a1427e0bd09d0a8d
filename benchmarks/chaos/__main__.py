"""Kills processes of a working server at random, and looks whether anything of what it accepted is lost.

    python -m benchmarks.chaos --json [--kills 100] [--seconds 1500] [--seed 0]

One `modelshapley up` with two workers, on loopback, in a directory of its own. Before each kill, work of one kind
is submitted: a run with a check, a run in three shards, trials, or an upload; so something of each kind is open while a
worker, the web server, Redis or the supervisor gets a SIGKILL. `kills`, by role; `back_s`: from a kill until health is
"ok" again with as many workers as before. At the end, once everything has ended:

`lost`: accepted work that is not there any more, or failed. `stuck`: what has not ended after END_TIMEOUT_S.
`duplicated`: runs more than were sent. `different`: maps, bit for bit, and reports that are not those of the same run
undisturbed; trials that are not what this process computes itself; uploaded files that differ.

`redis_wiped_recovered`: Redis is emptied while runs wait, and they end. `disk_full_recovered`: the disk (a tmpfs, so
root is needed; null elsewhere) is full for a while; the server says so, accepted work is kept, and new work ends once
there is space.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import disk_full_recovered, redis_wiped_recovered
from benchmarks.chaos.service import ROLES, Service
from benchmarks.chaos.work import Work
from benchmarks.support.common import report

WEIGHTS = {"worker": 6, "web": 2, "redis": 1, "supervisor": 1}
PAUSE_S = 2.0


def measure(kills: int, seconds: float, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    back: dict[str, list[float]] = {role: [] for role in ROLES}
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data") as service:
        work = Work(service.url, Path(folder), rng)
        work.learn()
        deadline = time.monotonic() + seconds
        while sum(map(len, back.values())) < kills and time.monotonic() < deadline:
            work.submit()
            time.sleep(rng.random() * PAUSE_S)
            (role,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
            back[role].append(service.kill(role, rng))
        found = work.examine()
        wiped = redis_wiped_recovered(service)
    times = sorted(seconds for role in back.values() for seconds in role)
    return {
        "seed": seed,
        "kills": len(times),
        "kills_by_role": {role: len(values) for role, values in back.items()},
        **found,
        "back_s": {"p50": _share(times, 0.5), "p95": _share(times, 0.95), "max": _share(times, 1.0)},
        "redis_wiped_recovered": wiped,
        "disk_full_recovered": disk_full_recovered(),
    }


def _share(times: list[float], share: float) -> float | None:
    return round(times[min(len(times) - 1, int(share * len(times)))], 1) if times else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted like the other benchmarks'; the report is JSON")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1500.0, help="no more kills after this time")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    report({"chaos": measure(arguments.kills, arguments.seconds, arguments.seed)})


if __name__ == "__main__":
    main()
