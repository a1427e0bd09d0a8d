"""An S3-compatible store of its own: OpenStack Swift from Debian's packages, with one disk, as four processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import s3fs
from botocore.exceptions import BotoCoreError

from modelshapley.server.addresses import free_port

KEY, SECRET, BUCKET = "test:tester", "testing", "maps"
STORES = ("account", "container", "object")
PIPELINE = "lengths catch_errors gatekeeper cache s3api tempauth bulk slo dlo proxy-server"
PROXY = f"""
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {SECRET} .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:lengths]
paste.filter_factory = swift_lengths:filter_factory
"""


@contextmanager
def swift_running(folder: Path) -> Iterator[dict[str, str]]:
    """Start Swift on loopback ports; yield the variables with which s3fs finds it. Skips aloud without one."""
    if shutil.which("swift-proxy-server") is None or not Path("/etc/swift/swift.conf").exists():
        pytest.skip("No Swift on this machine; `make services` installs Debian's.")
    (folder / "filters").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("swift_lengths.py"), folder / "filters")  # alone: `swift` means another here
    port = free_port()
    processes = []
    try:
        for name in STORES:
            store = free_port()
            _make_ring(folder, name, store)
            text = f"devices = {folder}\nmount_check = false\n[pipeline:main]\npipeline = {name}-server\n"
            text += f"[app:{name}-server]\nuse = egg:swift#{name}\n"
            processes.append(_start(folder, name, store, text))
        (folder / "disk").mkdir()
        filters = "".join(
            f"[filter:{name}]\nuse = egg:swift#{name}\n"
            for name in ("catch_errors", "gatekeeper", "s3api", "bulk", "slo", "dlo")
        )
        text = f"[pipeline:main]\npipeline = {PIPELINE}\n{PROXY}{filters}"
        processes.append(_start(folder, "proxy", port, text))
        url = f"http://127.0.0.1:{port}"
        _make_bucket(url, folder)
        yield {"FSSPEC_S3_ENDPOINT_URL": url, "FSSPEC_S3_KEY": KEY, "FSSPEC_S3_SECRET": SECRET}
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _make_ring(folder: Path, name: str, port: int) -> None:
    for arguments in (["create", "4", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/disk", "1"], ["rebalance"]):
        command = ["swift-ring-builder", str(folder / f"{name}.builder"), *arguments]
        subprocess.run(command, check=True, capture_output=True)


def _start(folder: Path, name: str, port: int, text: str) -> subprocess.Popen[bytes]:
    file = folder / f"{name}.conf"
    head = f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nuser = root\nswift_dir = {folder}\nworkers = 0\n"
    file.write_text(head + text)
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [f"swift-{name}-server", str(file), "verbose"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "filters")},
            stdout=log,
            stderr=log,
        )


def _make_bucket(url: str, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            s3fs.S3FileSystem(endpoint_url=url, key=KEY, secret=SECRET, skip_instance_cache=True).mkdir(BUCKET)
            return
        except (OSError, BotoCoreError):
            log = (folder / "proxy.log").read_text(errors="replace")
            assert time.monotonic() < deadline, log[-2000:]
            time.sleep(0.3)
