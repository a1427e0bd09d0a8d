"""A process that answers requests within limits, as lines of JSON; it ends when a limit is exceeded."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

from modelshapley.errors import ModelShapleyError

START_TIMEOUT_S = 120.0  # a busy machine takes long to import what the process needs
WAIT_FACTOR = 6.0  # wall time for a second of CPU time, on a machine with many processes for each core


class LimitExceeded(Exception):
    """A request needed more than its limits; the message continues 'the tokenizer ...'."""


class ConfinedProcess:
    """A process that answers requests one after the other; it is started when first needed, and after each failure.

    module: what it runs; it prints "ready", then one line of JSON for each line that it reads. purpose: for the error
    if it does not start, such as 'renders chat templates'. max_answer: of one answer, bytes.
    """

    def __init__(self, module: str, purpose: str, max_answer: int) -> None:
        self._module, self._purpose, self._max_answer = module, purpose, max_answer
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._busy = self._interrupted = self._stopped = False
        _ALL.add(self)

    def ask(self, request: dict[str, Any], cpu_s: float) -> dict[str, Any]:
        """Return the answer to a request that may take `cpu_s` seconds of CPU time.

        Raises LimitExceeded, and ModelShapleyError if the process does not start, was interrupted or is stopped.
        """
        wait = cpu_s * WAIT_FACTOR
        line = json.dumps(request | {"cpu_s": cpu_s}).encode() + b"\n"
        with self._lock:
            self._interrupted, self._busy = False, True
            try:
                return self._exchange(line, cpu_s, wait)
            finally:
                self._busy = False

    def interrupt(self) -> None:
        """End a request in progress, from any thread: its `ask` raises. A process that only waits is left alone."""
        if self._busy:
            self._interrupted = True
            if (process := self._process) is not None:
                process.kill()

    def stop(self) -> None:
        """End a request in progress, from any thread, and refuse all others: their `ask` raises."""
        self._stopped = True
        self.interrupt()

    def close(self) -> None:
        """End the process, after a request in progress."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    @property
    def pid(self) -> int | None:
        """Number of the process: another one after each failure; None if there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def _exchange(self, request: bytes, cpu_s: float, wait: float) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        self._refuse_unwanted()  # interrupted before there was a process to end
        line = _exchange(process, request, wait, self._max_answer)
        if line is not None and line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._end()
        self._refuse_unwanted()
        if line is None or process.returncode == -signal.SIGPROF:
            raise LimitExceeded(f"takes longer than {cpu_s:.1f} s")
        raise LimitExceeded("needs too much memory")

    def _refuse_unwanted(self) -> None:
        if self._interrupted or self._stopped:
            raise ModelShapleyError("It was cancelled.")

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the process. Raises ModelShapleyError if it does not answer."""
        self._end()
        command = [sys.executable, "-m", self._module]
        self._process = process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        if _exchange(process, b"", START_TIMEOUT_S, self._max_answer) != b"ready\n":
            self._end()
            self._refuse_unwanted()
            raise ModelShapleyError(f"The process that {self._purpose} did not start; see the log.")
        return process


_ALL: weakref.WeakSet[ConfinedProcess] = weakref.WeakSet()


def interrupt_all() -> None:
    """End the requests in progress of all processes: the job that waits for them was cancelled."""
    for process in list(_ALL):
        process.interrupt()


def _exchange(process: subprocess.Popen[bytes], request: bytes, timeout: float, max_answer: int) -> bytes | None:
    """Send a request and return the next line; None if it does not come in time, less than a line if the process ended.

    It writes only what the pipe takes, so that a process that does not read holds nobody up.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    source, target = process.stdout.fileno(), process.stdin.fileno()
    rest, line, deadline = memoryview(request), b"", time.monotonic() + timeout
    while not line.endswith(b"\n") and len(line) < max_answer:
        try:
            rest = rest[os.write(target, rest) :] if rest else rest
        except BlockingIOError:
            pass
        except BrokenPipeError:
            break
        left = max(0.0, deadline - time.monotonic())
        readable, writable, _ = select.select([source], [target] if rest else [], [], left)
        if not readable and not writable:
            return None
        if readable:
            block = os.read(source, 1 << 20)
            if not block:
                break
            line += block
    return line
