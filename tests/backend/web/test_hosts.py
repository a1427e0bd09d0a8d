"""Without a key nothing but loopback is served, whichever command, setting or program binds the address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.settings import Settings
from backend.web.security import RequireLoopback
from modelshapley.errors import ModelShapleyError
from modelshapley.server.addresses import free_port, is_loopback, open_listeners
from tests.support.coroutines import run

EVERYWHERE = "0.0.0.0"
UVICORN = ["uvicorn", "frontend.asgi:create", "--factory", "--port", "{port}", "--host"]
WAYS = {
    "web": (["modelshapley.cli", "web", "--port", "{port}", "--host", EVERYWHERE], {}),
    "web, every address by an empty name": (["modelshapley.cli", "web", "--port", "{port}", "--host", ""], {}),
    "web, another address": (["modelshapley.cli", "web", "--port", "{port}", "--host", "::"], {}),
    "web by its variable": (["modelshapley.cli", "web", "--port", "{port}"], {"MODELSHAPLEY_HOST": EVERYWHERE}),
    "up": (["modelshapley.cli", "up", "--port", "{port}", "--host", EVERYWHERE], {}),
    "a blank key": (
        ["modelshapley.cli", "web", "--port", "{port}", "--host", EVERYWHERE],
        {"MODELSHAPLEY_API_KEY": " "},
    ),
    "uvicorn": ([*UVICORN, EVERYWHERE], {}),
    "uvicorn, though the setting says loopback": ([*UVICORN, EVERYWHERE], {"MODELSHAPLEY_HOST": "127.0.0.1"}),
    "uvicorn, and the setting says so": ([*UVICORN, "127.0.0.1"], {"MODELSHAPLEY_HOST": EVERYWHERE}),
}


@pytest.mark.parametrize("way", [pytest.param(way, marks=[pytest.mark.slow] * (", " in way)) for way in WAYS])
def test_no_key_no_other_address(way: str, tmp_path: Path) -> None:
    arguments, variables = WAYS[way]
    port = free_port()
    command = [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)]
    environment = {key: value for key, value in os.environ.items() if key != "MODELSHAPLEY_API_KEY"}
    environment |= {"MODELSHAPLEY_DATA": str(tmp_path), **variables}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        served: list[int] = []
        try:
            until = time.monotonic() + 90
            while process.poll() is None and time.monotonic() < until:
                try:
                    served.append(httpx.get(f"http://127.0.0.1:{port}/api/v1/architectures", timeout=2).status_code)
                except httpx.HTTPError:
                    time.sleep(0.05)
        finally:
            process.kill()
        output = process.stdout.read().decode() if process.stdout else ""
    assert process.returncode not in (0, None, -9), output
    assert set(served) <= {403}, output
    assert "MODELSHAPLEY_API_KEY" in output
    assert "Traceback" not in output


def status_of(scope: dict[str, Any]) -> int:
    """The status of an answer by the guard around an application that answers 200."""
    sent: list[Any] = []

    async def application(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    run(RequireLoopback(application)({"type": "http", "headers": [], "path": "/", **scope}, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("server", "host", "status"),
    [
        (("127.0.0.1", 8050), "127.0.0.1:8050", 200),
        (("::1", 8050), "[::1]:8050", 200),
        (("::ffff:127.0.0.1", 8050), "localhost", 200),
        (("/run/web.sock", None), "localhost", 200),
        (("192.168.1.5", 8050), "localhost", 403),
        (("0.0.0.0", 8050), "localhost", 403),
        (("fe80::1", 8050), "localhost", 403),
        (("127.0.0.1", 8050), "evil.example", 421),
        (("127.0.0.1", 8050), "", 421),
    ],
)
def test_the_address_that_was_reached_counts_as_well_as_the_name(
    server: tuple[str, int | None], host: str, status: int
) -> None:
    assert status_of({"server": server, "headers": [(b"host", host.encode())]}) == status


def test_listening_sockets_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert open_listeners() == []
        with socket.create_server(("0.0.0.0", 0)):
            assert open_listeners() == [EVERYWHERE]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.0.1", "::ffff:8.8.8.8", "localhost.evil.example"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_wrong_settings_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSHAPLEY_PORT", "seventy")
    with pytest.raises(ModelShapleyError, match="MODELSHAPLEY_PORT"):
        Settings.from_environment()
