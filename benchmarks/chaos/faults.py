"""Two disasters: a Redis that loses everything, and a disk without space."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from benchmarks.chaos.service import Service
from benchmarks.chaos.work import BASE
from modelshapley.client import ApiError, Client
from modelshapley.contracts import Run, Status

END_TIMEOUT_S, POLL_S = 180.0, 0.5
DISK_MB, CHUNK = 512, b"\0" * 2**20


def redis_wiped_recovered(service: Service) -> bool:
    """Empty Redis while runs wait; return whether they end."""
    service.until_well()
    with Client(service.url, timeout=20) as api:
        runs = [api.submit_run(BASE.model_copy(update={"seed": 100 + number})) for number in range(3)]
        Redis.from_url(service.redis_url()).flushall()
        return all(_ends_well(api, run.id) for run in runs)


def disk_full_recovered() -> bool | None:
    """Fill a server's disk while a run waits; return whether it says so and goes on afterwards. None without root."""
    with _small_disk() as disk:
        if disk is None:
            return None
        with Service(disk / "data", workers=1) as service, Client(service.url, timeout=20) as api:
            before = api.submit_run(BASE)
            ballast = _fill(disk)
            told = _is_told(api)
            ballast.unlink()
            after = api.submit_run(BASE.model_copy(update={"seed": 1}))
            again = _end_of(api, before.id)
            # A run that met the full disk may fail, with that reason: it was not lost, and can be submitted again.
            kept = again is not None and (again.status is Status.DONE or "disk" in (again.error or ""))
            return told and kept and _ends_well(api, after.id)


def _is_told(api: Client) -> bool:
    """Return whether health names the disk and a submission is refused for it, or accepted and kept."""
    named = "disk" in (api.health().problem or "")
    try:
        api.submit_run(BASE.model_copy(update={"seed": 2}))
    except ApiError as error:
        return named and error.problem.status == 507
    return named


def _fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(CHUNK)
                file.flush()
        except OSError:
            return ballast


def _ends_well(api: Client, run_id: str) -> bool:
    run = _end_of(api, run_id)
    return run is not None and run.status is Status.DONE


def _end_of(api: Client, run_id: str) -> Run | None:
    deadline = time.monotonic() + END_TIMEOUT_S
    while time.monotonic() < deadline:
        run = api.run(run_id)
        if run.status.ended:
            return run
        time.sleep(POLL_S)
    return None


@contextmanager
def _small_disk() -> Iterator[Path | None]:
    """Mount a tmpfs of DISK_MB; yield None where that is not allowed."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)
