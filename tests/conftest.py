"""Fixtures that every test may use: the two demo models, and whole servers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelshapley.client import Client
from modelshapley.contracts import Run, RunRequest
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from tests.support.fork_server import Forked, fork_fresh_processes, fork_server, start_process
from tests.support.ordering import interleaved

ROOT = Path(__file__).parent.parent
TEST_DATA = Path(os.environ.get("MODELSHAPLEY_TEST_DATA", ROOT / ".data" / "test"))
DIGITS_RUN = RunRequest(
    model=DIGITS_VIT, task="digits", methods=["two-sided", "model-shapley", "path-shapley,points=2", "random"]
)
CAPITALS_RUN = RunRequest(model=SMOLLM2, task="world-capitals", methods=["two-sided", "mean-abs"], faithfulness="none")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave tests of the real language model to `make test-all`, where toys have the same assertions."""
    if {"smollm2", "capitals_run"} & {*getattr(item, "fixturenames", ())}:
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the files in an order in which several processes do not all wait at once."""
    if hasattr(config, "workerinput"):
        items[:] = interleaved(items)


@pytest.fixture(scope="session", autouse=True)
def _forked_fresh_processes() -> None:
    """What is saved is loaded again in the time of a fork; `modelshapley finetune` still does so in a real process."""
    fork_fresh_processes()


@pytest.fixture(scope="session")
def prepared_data() -> Path:
    """A data directory that holds the converted demo language model; kept between test runs."""
    prepare_smollm2(Catalog(TEST_DATA).smollm2_folder)
    return TEST_DATA


@pytest.fixture(scope="session")
def digits_vit() -> LoadedModel:
    return load(Catalog(TEST_DATA).folder(DIGITS_VIT))


@pytest.fixture(scope="session")
def smollm2(prepared_data: Path) -> LoadedModel:
    return load(Catalog(prepared_data).folder(SMOLLM2))


@dataclass
class Server:
    """A running `modelshapley up`."""

    process: Forked | subprocess.Popen[bytes]
    url: str
    data: Path

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


StartServer = Callable[..., Server]


@contextmanager
def starting(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path) -> Iterator[StartServer]:
    """A function that starts `modelshapley up` on a free port; what it started is stopped at the end."""
    started: list[Server] = []

    def start(*options: str, data: Path | None = None, **environment: str) -> Server:
        data = data or tmp_path_factory.mktemp("data")
        if not (data / "demo").exists():
            (data / "demo").symlink_to(prepared_data / "demo")
        command = ["modelshapley.cli", "up", "--port", "0", "--data", str(data), *options]
        reading, writing = os.pipe()
        environment = {"MODELSHAPLEY_LOST_AFTER_SECONDS": "10"} | environment  # so that tests wait half as long
        # The hub's client reads its variables while it is imported, before a fork could change them.
        begin = start_process if any(name.startswith("HF_") for name in environment) else fork_server().start
        with (data / "up.log").open("a") as log:
            process = begin(*command, env=os.environ | environment, stdout=writing, stderr=log)
        os.close(writing)
        with os.fdopen(reading) as output:
            line = output.readline()
        if not line.startswith("ready http://"):
            process.kill()
            pytest.fail(f"no server: {line!r}\n{(data / 'up.log').read_text()[-3000:]}")
        server = Server(process, line.split()[1], data)
        started.append(server)
        return server

    try:
        yield start
    finally:
        alive = [server.process for server in started if server.process.poll() is None]
        for process in alive:  # all at once: a worker ends what it has in hand first
            process.terminate()
        for process in alive:
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path) -> Iterator[StartServer]:
    """Servers of one file of tests: each takes half a gigabyte, so that not all files' can stay."""
    with starting(tmp_path_factory, prepared_data) as start:
        yield start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path) -> Iterator[Server]:
    """One server with one worker, shared by the tests that only use it."""
    with starting(tmp_path_factory, prepared_data) as start:
        yield start()


@pytest.fixture(scope="session")
def api(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture(scope="session")
def digits_run(api: Client) -> Run:
    return api.wait(api.submit_run(DIGITS_RUN).id)


@pytest.fixture(scope="session")
def capitals_run(api: Client) -> Run:
    return api.wait(api.submit_run(CAPITALS_RUN.model_copy(update={"limit": 24})).id)
