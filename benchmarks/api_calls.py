"""Calls made up by schemathesis from the OpenAPI description, stateful ones included.

    python -m benchmarks.api_calls --json [--seeds 1 2 3] [--calls 10000] [--seconds 150]

For each seed, a fresh `modelshapley up` with one worker, on loopback, in a directory of its own, is sent calls for
`--seconds`; seeds go on, from the first, until there are `--calls`. Two of schemathesis' checks are left out, since the
description cannot say what they want: `positive_data_acceptance` (a valid name of a model may be unknown) and
`use_after_free` (`DELETE` of a run cancels it). `server_errors`: answers of 5xx but 503, and tracebacks;
`contract_failures`: what the remaining checks found. Event streams are left out: they do not end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.chaos.service import Service
from benchmarks.common import report

LEFT_OUT = "positive_data_acceptance,use_after_free"
CASES = 60


def calls_of(seed: int, seconds: float) -> dict[str, Any]:
    """Return how many calls one seed made, and what failed, by check."""
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", workers=1) as service:
        file = Path(folder) / "calls.ndjson"
        command = [str(Path(sys.executable).with_name("st")), "run", f"{service.url}/api/openapi.json"]
        command += ["--seed", str(seed), "-n", str(CASES), "--max-time", f"{seconds:.0f}", "--exclude-checks", LEFT_OUT]
        command += ["--exclude-path-regex", "/events$", "--report", "ndjson", "--report-ndjson-path", str(file)]
        command += ["--continue-on-failure", "--request-timeout", "60", "--no-color"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | {"COLUMNS": "200"})
        if not file.exists():
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        statuses, failures = read_report(file)
    summary = re.search(r"Test cases:\s*[^\n]*", done.stdout)
    return {
        "seed": seed,
        "calls": sum(statuses.values()),
        "statuses": dict(sorted(statuses.items())),
        "failures": dict(failures),
        "summary": summary[0] if summary else done.stdout[-500:] + done.stderr[-500:],
        **({"details": _section(done.stdout, "FAILURES")} if failures else {}),
    }


def _section(text: str, title: str) -> str:
    """Return the part of schemathesis' output below a heading, which holds the calls that failed."""
    found = re.search(rf"=+ {title} =+\n(.*?)(?=\n=====|\Z)", text, re.DOTALL)
    return found[1][:4000] if found else text[-4000:]


def read_report(file: Path) -> tuple[Counter[str], Counter[str]]:
    """Count the statuses of all calls, and the failures by check."""
    statuses: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            _count(json.loads(line), statuses, failures)
    return statuses, failures


def _count(value: Any, statuses: Counter[str], failures: Counter[str]) -> None:
    """Walk through an event: an interaction has a response, a check its name and status."""
    if isinstance(value, dict):
        if isinstance(value.get("response"), dict) and "status_code" in value["response"]:
            statuses[str(value["response"]["status_code"])] += 1
        if value.get("status") == "failure" and isinstance(value.get("name"), str):
            failures[value["name"]] += 1
        for inner in value.values():
            _count(inner, statuses, failures)
    elif isinstance(value, list):
        for inner in value:
            _count(inner, statuses, failures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted like the other benchmarks'; the report is JSON")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=150.0)
    arguments = parser.parse_args()
    runs = [calls_of(seed, arguments.seconds) for seed in arguments.seeds]
    server_errors = sum(
        count for run in runs for status, count in run["statuses"].items() if status[0] == "5" and status != "503"
    )
    report(
        {
            "api_calls": {
                "calls": sum(run["calls"] for run in runs),
                "enough": sum(run["calls"] for run in runs) >= arguments.calls,
                "server_errors": server_errors,
                "contract_failures": sum(sum(run["failures"].values()) for run in runs),
                "seeds": runs,
            }
        }
    )


if __name__ == "__main__":
    main()
