"""Make the small data directory that tests/backend/store/test_upgrades.py opens: run it with the version to be kept.

    python scripts/make_data_fixture.py tests/backend/store/data-0.2.0.tar.gz

It holds a run of the digits ViT on heads with its report, a trial, a group, and a run that never started.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from modelshapley.client import Client
from modelshapley.contracts import GroupRequest, Off, RunRequest, TrialRequest
from modelshapley.units import UnitKind

KEPT = ("records.sqlite", "runs")


def fill(url: str) -> None:
    request = RunRequest(model="demo:digits-vit", task="digits", units=[UnitKind.HEAD], limit=64)
    with Client(url) as api:
        run = api.wait(api.submit_run(request).id)
        api.checked(run.id)
        api.measure(TrialRequest(run=run.id, off=Off(head=[(1, 2), (3, 0)])))
        api.add_group(GroupRequest(name="two heads", model=run.model, off=Off(head=[(1, 2), (3, 0)])))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        command = [sys.executable, "-m", "modelshapley.cli", "up", "--port", "0", "--data", str(data)]
        for workers, work in (("1", fill), ("0", leave_waiting)):
            process = subprocess.Popen([*command, "--workers", workers], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            work(process.stdout.readline().split()[1])
            process.terminate()
            process.wait()
        with tarfile.open(sys.argv[1], "w:gz") as archive:
            for name in KEPT:
                archive.add(data / name, name)


def leave_waiting(url: str) -> None:
    with Client(url) as api:
        api.submit_run(RunRequest(model="demo:digits-vit", task="digits", units=[UnitKind.HEAD], limit=8, seed=7))


if __name__ == "__main__":
    main()
