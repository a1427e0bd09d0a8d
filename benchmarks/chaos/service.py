"""A server of `modelshapley up` whose processes can be killed by role."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from modelshapley.client import ApiError, ApiUnreachable, Client
from modelshapley.errors import ModelShapleyError
from modelshapley.server.addresses import free_port

ROLES = ("worker", "web", "redis", "supervisor")
# In the command line. A child that was just forked still has the supervisor's, and is none of them yet.
MARKS = {"worker": ("workers.main",), "web": ("uvicorn",), "redis": ("valkey", "redis-server")}
WORKERS = 2
START_TIMEOUT_S, BACK_TIMEOUT_S, POLL_S = 180.0, 180.0, 0.1


class Service:
    """`modelshapley up` on one port and one data directory, through restarts of its supervisor."""

    def __init__(self, data: Path, workers: int = WORKERS) -> None:
        self.data, self.workers, self._port = data, workers, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=60)

    def start(self) -> None:
        """Start everything, and wait until it is ready."""
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "modelshapley.cli", "up", "--port", str(self._port), "--data", str(self.data)]
        environment = os.environ | {"MODELSHAPLEY_CHECKPOINT_SECONDS": "0.2", "MODELSHAPLEY_MAX_BODY_BYTES": "65536"}
        with (self.data / "up.log").open("a") as log:
            self._process = subprocess.Popen(
                [*command, "--workers", str(self.workers)],
                env={"OMP_NUM_THREADS": "1", **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(f"no server: {(self.data / 'up.log').read_text()[-2000:]}")

    def pids(self, role: str) -> list[int]:
        """Return the processes of a role."""
        assert self._process is not None
        if role == "supervisor":
            return [self._process.pid]
        found = []
        with suppress(OSError):
            for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
                with suppress(OSError):  # this child has just ended
                    line = Path(f"/proc/{child}/cmdline").read_bytes().decode()
                    found += [int(child)] if any(mark in line for mark in MARKS[role]) else []
        return found

    def kill(self, role: str, rng: random.Random) -> float:
        """Kill one process of a role; return the seconds until the server was well again."""
        deadline = time.monotonic() + BACK_TIMEOUT_S
        while not (pids := self.pids(role)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        pid = rng.choice(pids)
        children = [child for other in MARKS for child in self.pids(other)]
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        if role == "supervisor":
            assert self._process is not None
            self._process.wait()
            _until_gone(children)
            self.start()
        self.until_well(pid)
        return time.monotonic() - began

    def until_well(self, killed: int | None = None) -> None:
        """Wait until health is ok with all workers, none of them the one that was killed."""
        deadline = time.monotonic() + BACK_TIMEOUT_S
        with Client(self.url, timeout=10) as api:
            while time.monotonic() < deadline:
                with suppress(ApiError, ApiUnreachable):
                    pids = {worker.pid for worker in api.workers()} - {killed}
                    if api.health().status == "ok" and set(self.pids("worker")) <= pids and len(pids) >= self.workers:
                        return
                time.sleep(POLL_S)
        raise ModelShapleyError(f"not well within {BACK_TIMEOUT_S:.0f} s; see {self.data / 'up.log'}")

    def redis_url(self) -> str:
        """Return the address of its Redis, which only its processes know."""
        (pid, *_) = self.pids("web")
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.decode().partition("=")
            if name == "MODELSHAPLEY_REDIS_URL":
                return value
        raise RuntimeError("the web server has no address of Redis")


def _until_gone(pids: list[int]) -> None:
    """Wait for the children of a killed supervisor, which end with it: they hold the port and Redis' file."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
        time.sleep(POLL_S)
