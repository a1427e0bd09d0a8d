"""A PostgreSQL of its own, from Debian's package."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from modelshapley.server.addresses import free_port

NOBODY_ELSE = "postgres"  # the server refuses to run as root


@contextmanager
def postgres_running(folder: Path) -> Iterator[str]:
    """Start PostgreSQL on a loopback port; yield the SQLAlchemy URL of its database. Skips aloud without one."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("No PostgreSQL on this machine; `make services` installs Debian's.")
    data, port = folder / "postgres", free_port()
    data.mkdir()
    as_user = ["setpriv", f"--reuid={NOBODY_ELSE}", f"--regid={NOBODY_ELSE}", "--clear-groups"]
    prefix = as_user if os.getuid() == 0 else []
    if prefix:
        shutil.chown(data, NOBODY_ELSE, NOBODY_ELSE)
        for parent in (folder, *folder.parents):  # pytest closes its folders to others, however deep they are
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    initdb = [*prefix, str(folders[-1] / "initdb"), "-D", str(data), "-U", "shapley", "--auth=trust", "-E", "UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-c", "fsync=off"]
    process = subprocess.Popen(
        [*prefix, str(folders[-1] / "postgres"), *options],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"postgresql+psycopg://shapley@127.0.0.1:{port}/postgres"
    try:
        _wait(url)
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # without waiting for clients
        process.wait(timeout=30)


def _wait(url: str) -> None:
    engine, deadline = create_engine(url), time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
            engine.dispose()
            return
        except OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
