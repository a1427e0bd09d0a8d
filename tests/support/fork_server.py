"""Start `python -m MODULE` in the time of a fork: one process has imported torch, all others are forked from it.

A server or a command line costs five to nine seconds of importing; a suite of tests starts hundreds of them. What is
forked is a process of its own: with its own environment, session, open files and exit code, killed and waited for like
any other. What the supervisor starts is forked in the same way, and what loads a saved model again
(:func:`fork_fresh_processes`). Named tests still start real processes.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

IMPORTS = (
    "accelerate",
    "alembic.command",
    "backend.web.app",
    "dash_mantine_components",
    "datasets",
    "frontend.app",
    "modelshapley.api",
    "modelshapley.applications.reload",
    "modelshapley.cli.main",
    "modelshapley.evaluation.reproduce",
    "modelshapley.maps.parquet",
    "modelshapley.scoring.job",
    "modelshapley.server.supervisor",
    "modelshapley.tasks.builtin.digits",
    "modelshapley.tasks.builtin.world_capitals",
    "modelshapley.tasks.kinds.generation",
    "modelshapley.tasks.kinds.image_classification",
    "modelshapley.tasks.kinds.language_modelling",
    "modelshapley.tasks.kinds.text_classification",
    "modelshapley.tasks.preview",
    "sqlalchemy.dialects.sqlite",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.vit.modeling_vit",
    "uvicorn.main",
    "workers.check_jobs",
    "workers.derive_jobs",
    "workers.example_jobs",
    "workers.run_jobs",
    "workers.task_jobs",
    "workers.trial_jobs",
    "workers.worker",
)
ROOT = Path(__file__).parents[2]
REAL_RUN = subprocess.run
ADDRESS = "TESTS_FORK_SERVER"
"""Variable by which what a server starts finds the fork server of its tests."""
FRESH = {"modelshapley.applications.reload"}
"""Modules that the library runs in a fresh process. A forked one has nothing of a model either, and starts at once."""


class ForkServer:
    """The process that has imported everything. Ask :func:`fork_server` for it."""

    def __init__(self, imports: Sequence[str] = IMPORTS) -> None:
        self.address = f"modelshapley-tests-{os.getpid()}-{os.urandom(8).hex()}"
        lifeline, ours = os.pipe()
        with _listening(self.address) as listener:
            fds = [listener.fileno(), lifeline]
            quiet = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()])}
            command = [sys.executable, "-m", "tests.support.fork_server", *map(str, fds), *imports]
            self._process = subprocess.Popen(command, pass_fds=fds, cwd=ROOT, env=os.environ | quiet)
        os.close(lifeline)
        self._lifeline = ours
        self.start = partial(start_at, self.address)
        self.run = partial(run_at, self.address)

    def close(self) -> None:
        os.close(self._lifeline)  # it reads to the end and exits
        self._process.wait(timeout=30)


def start_at(
    address: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[Any] = 1,
    stderr: int | IO[Any] = 2,
) -> Forked:
    """Let the fork server at an address start `python -m` with these arguments."""
    request = {
        "arguments": arguments,
        "env": dict(os.environ if env is None else env),
        "cwd": str(cwd or Path.cwd()),
    }
    mine, child = socket.socketpair()
    fds = [child.fileno(), *(s if isinstance(s, int) else s.fileno() for s in (stdout, stderr))]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server, _as_file(json.dumps(request).encode()) as body:
        server.connect(f"\0{address}")
        socket.send_fds(server, [b"start"], [body, *fds])
    child.close()
    pid = int(_line(mine))
    return Forked(pid, mine)


def run_at(
    address: str, *arguments: str, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `python -m` with these arguments to its end; like subprocess.run with captured text."""
    with contextlib.ExitStack() as stack:
        out, err = (os.fdopen(os.memfd_create(name), "w+") for name in ("stdout", "stderr"))
        stack.callback(out.close)
        stack.callback(err.close)
        code = start_at(address, *arguments, cwd=cwd, stdout=out, stderr=err).wait(timeout)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


@cache
def fork_server() -> ForkServer:
    """The one of this process of tests; it ends with it."""
    server = ForkServer()
    os.environ[ADDRESS] = server.address
    atexit.register(server.close)
    return server


def fork_fresh_processes() -> None:
    """Let `subprocess.run` of this process fork the modules of FRESH, and start anything else as ever."""

    def run(command: Any, *positional: Any, **options: Any) -> Any:
        if not (isinstance(command, list) and command[:2] == [sys.executable, "-m"] and command[2] in FRESH):
            return REAL_RUN(command, *positional, **options)
        return run_at(os.environ.get(ADDRESS) or fork_server().address, *command[2:], timeout=options["timeout"])

    subprocess.run = run  # type: ignore[assignment]


def start_process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start `python -m` with these arguments as a real process, for tests that need one."""
    return subprocess.Popen([sys.executable, "-m", *arguments], **options)


@dataclass
class Forked:
    """A forked process, as far as :class:`subprocess.Popen` goes. Its keeper tells its exit code by a socket."""

    pid: int
    keeper: socket.socket
    returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self.keeper], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(_line(self.keeper))
            self.keeper.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Child:
    """What the supervisor starts, forked from the supervisor: as far as :class:`subprocess.Popen` goes."""

    stdin = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def serve(listener: socket.socket, lifeline: int, imports: Sequence[str]) -> None:
    """Import, then fork for each request until the lifeline ends."""
    from importlib import import_module

    import modelshapley.server.processes as processes
    import modelshapley.server.supervisor as supervisor

    for name in imports:
        import_module(name)
    real = processes.start

    def start(command: Sequence[str], **options: Any) -> Any:
        if list(command[:2]) != [sys.executable, "-m"]:
            return real(command, **options)
        return Child(_fork(command[2:], options["env"], session=True))

    supervisor.start = start  # type: ignore[attr-defined]
    fork_fresh_processes()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    sources: list[Any] = [listener, lifeline]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if lifeline in ready:
            return
        with listener.accept()[0] as asked:
            message, fds, _, _ = socket.recv_fds(asked, 100, 4)
        if message and os.fork() == 0:
            listener.close()
            os.close(lifeline)
            _keep(*fds)
        for used in fds:
            os.close(used)


def _keep(body: int, answer: int, stdout: int, stderr: int) -> None:
    """Fork what was asked for, tell its process id, wait, tell its exit code. Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.lseek(body, 0, os.SEEK_SET)
    with os.fdopen(body) as stream:
        request = json.load(stream)
    pid = _fork(request["arguments"], request["env"], request["cwd"], (stdout, stderr))
    os.write(answer, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):  # whoever asked may be gone
        os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _fork(
    arguments: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None = None,
    output: tuple[int, int] | None = None,
    session: bool = False,
) -> int:
    """Fork, and run `python -m` with these arguments in the child. Returns the child's process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _become_new(env, cwd, output, session)
        code = _run_module(arguments)
    finally:
        os._exit(code)
    return 0


def _become_new(env: Mapping[str, str], cwd: str | None, output: tuple[int, int] | None, session: bool) -> None:
    """What exec would do: own signals, own environment, no files but the standard ones."""
    from modelshapley.server.processes import _end_with_parent

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if session:
        os.setsid()
        _end_with_parent()
    if output is not None:
        os.dup2(output[0], 1)
        os.dup2(output[1], 2)
    os.closerange(3, 4096)
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)


def _run_module(arguments: Sequence[str]) -> int:
    """Run a module as `python -m` would, exit handlers included. Returns its exit code."""
    import runpy
    import threading
    import traceback

    sys.argv = list(arguments)
    sys.path[0] = os.getcwd()
    code = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  # as the interpreter itself does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _listening(address: str) -> socket.socket:
    """A socket at an address in the kernel alone: it waits for whoever connects before the imports are done."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0{address}")
    listener.listen(64)
    return listener


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


@contextlib.contextmanager
def _as_file(data: bytes) -> Any:
    """A file descriptor to read `data` from: an environment may be longer than a message."""
    fd = os.memfd_create("request")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def _line(stream: socket.socket) -> str:
    """One line, byte by byte: what follows it stays in the socket."""
    data = b""
    while not data.endswith(b"\n"):
        byte = stream.recv(1)
        if not byte:
            raise RuntimeError("the fork server ended; see its output above")
        data += byte
    return data.decode()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3:])
