"""Supervisor of Redis, web server and workers: restarts what dies, stops everything on a signal."""

from __future__ import annotations

import fcntl
import logging
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from modelshapley.client import ApiError, ApiUnreachable, Client
from modelshapley.contracts import RunRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2
from modelshapley.server.addresses import free_port, refuse_open_host
from modelshapley.server.logs import configure
from modelshapley.server.processes import keep_files_private, start
from modelshapley.server.redis_server import RedisServer

log = logging.getLogger(__name__)
START_TIMEOUT_S = 120.0
MAX_FAILED_STARTS = 3  # of Redis before the server is ready: its file cannot be read, say
STOP_TIMEOUT_S = 5.0
POLL_S = 0.2
DEATHS_WINDOW_S = 300.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
DEMO_RUNS = (
    RunRequest(model=DIGITS_VIT, task="digits", methods=["two-sided", "mean-abs", "model-shapley", "random"]),
    RunRequest(model=SMOLLM2, task="world-capitals", methods=["two-sided", "mean-abs", "model-shapley", "random"]),
)


@dataclass
class Child:
    """A supervised process that is started again whenever it dies, after pauses that grow while it keeps dying."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] = field(init=False)
    clock: Callable[[], float] = time.monotonic
    _deaths: deque[float] = field(default_factory=deque)
    _start_at: float | None = None
    refusal: Callable[[], str] | None = None
    """Returns why it does not start, for a child without which nothing can be ready."""

    def __post_init__(self) -> None:
        self.process = self.start()

    def revive(self) -> None:
        """Start it again if it has died and its pause is over. It never gives up: others' work may go on meanwhile."""
        if self.process.poll() is None:
            return
        now = self.clock()
        if self._start_at is None:
            self._start_at = now + self._pause(now)
            log.warning(
                "%s ended with exit code %s, starting it again in %.1f s",
                self.name,
                self.process.returncode,
                self._start_at - now,
            )
        if now >= self._start_at:
            self._start_at = None
            try:
                self.process = self.start()
            except OSError as error:  # no memory or no processes left, which may pass
                log.error("%s cannot be started: %s", self.name, error)

    def _pause(self, now: float) -> float:
        """Return the seconds to wait: none after the first death within DEATHS_WINDOW_S, then twice as long each."""
        self._deaths.append(now)
        while self._deaths[0] < now - DEATHS_WINDOW_S:
            self._deaths.popleft()
        earlier = len(self._deaths) - 1
        return min(FIRST_PAUSE_S * 2.0 ** (earlier - 1), MAX_PAUSE_S) if earlier else 0.0

    @property
    def deaths(self) -> int:
        """Number of deaths within DEATHS_WINDOW_S."""
        return len(self._deaths)

    def stop(self) -> None:
        """Terminate the process, and kill it if it does not end in time."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Supervisor:
    """Supervisor of the processes of one data directory. Port 0 chooses a free one."""

    def __init__(self, data: Path, host: str, port: int, workers: int, environment: Mapping[str, str]) -> None:
        self.data, self.host, self.port, self.workers = data, host, port or free_port(), workers
        # Threads of torch that spin while they wait for each other are many times slower once they share their cores,
        # which they do here with a web server, Redis and often a browser.
        self.environment = {"OMP_WAIT_POLICY": "PASSIVE"} | dict(environment)
        self.environment |= {
            "MODELSHAPLEY_DATA": str(data),
            "MODELSHAPLEY_HOST": host,
            "MODELSHAPLEY_PORT": str(self.port),
        }
        self._stopping = False

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104  # compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def run(self, demo: bool = False) -> int:
        """Start everything, print `ready URL`, and stay until a signal. Returns the exit code."""
        configure("json" if self.environment.get("MODELSHAPLEY_LOG") == "json" else "text", text="%(message)s")
        refuse_open_host(self.host, self.environment.get("MODELSHAPLEY_API_KEY"))
        self.data.mkdir(parents=True, exist_ok=True)
        keep_files_private(self.data)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        with ExitStack() as cleanup:
            cleanup.enter_context(self._lock())
            children = self._start(cleanup)
            self._wait_until_ready(children)
            if self._stopping:
                return 0
            print(f"ready {self.url}", flush=True)
            if demo:
                self._submit_demo()
            while not self._stopping:
                for child in children:
                    child.revive()
                time.sleep(POLL_S)
        return 0

    def _start(self, cleanup: ExitStack) -> list[Child]:
        children = []

        def add(
            name: str, start_process: Callable[[], subprocess.Popen[bytes]], refusal: Callable[[], str] | None = None
        ) -> None:
            child = Child(name, start_process, refusal=refusal)
            cleanup.callback(child.stop)
            children.append(child)

        if "MODELSHAPLEY_REDIS_URL" not in self.environment:
            external_url = self.environment.get("REDIS_URL")
            if external_url is None:
                server = RedisServer.plan(self.data)
                add("Redis", server.start, server.refusal)
            self.environment["MODELSHAPLEY_REDIS_URL"] = external_url or server.url
        web = ["uvicorn", "frontend.asgi:create", "--factory", "--host", self.host, "--port", str(self.port)]
        add(
            "the web server",
            lambda: self._python(*web, "--log-level", "warning", "--timeout-graceful-shutdown", "2"),
        )
        for number in range(self.workers):
            add(f"worker {number + 1}", lambda: self._python("workers.main"))
        return children

    def _python(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-m", module, *arguments], env=self.environment)

    def _wait_until_ready(self, children: list[Child]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with self._client() as api:
            while not self._stopping:
                for child in children:
                    if child.process.poll() is not None and child.name == "the web server":
                        raise ModelShapleyError(
                            f"The web server did not start (is port {self.port} taken?); see above."
                        )
                    child.revive()
                    if child.refusal is not None and child.deaths >= MAX_FAILED_STARTS:
                        raise ModelShapleyError(child.refusal())
                # Compare process ids: Redis remembers the workers of an earlier supervisor for a while.
                ours = {child.process.pid for child in children if child.name.startswith("worker")}
                try:
                    if ours <= {worker.pid for worker in api.workers()}:
                        return
                except (ApiError, ApiUnreachable) as error:
                    log.debug("not ready yet: %s", error)
                if time.monotonic() > deadline:
                    raise ModelShapleyError(f"Not ready after {START_TIMEOUT_S:.0f} s; see the messages above.")
                time.sleep(POLL_S)

    def _submit_demo(self) -> None:
        with self._client() as api:
            done = {run.model for run in api.runs(limit=200).items if run.status.value in ("queued", "running", "done")}
            for request in DEMO_RUNS:
                if request.model not in done:
                    api.submit_run(request)

    def _client(self) -> Client:
        return Client(self.url, api_key=self.environment.get("MODELSHAPLEY_API_KEY") or None, timeout=10)

    def _lock(self) -> IO[str]:
        """Lock the data directory: two supervisors would corrupt its Redis file."""
        lock = (self.data / "up.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ModelShapleyError(
                f"Another `modelshapley up` already uses {self.data}; give --data another directory."
            ) from error
        return lock

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopping = True
