"""Commands that start processes: `up` starts all of them, `web` and `worker` one each. They import none of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelshapley.cli.options import Data
from modelshapley.extras import SERVER, require


def up(
    host: Annotated[str, typer.Option(envvar="MODELSHAPLEY_HOST")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="MODELSHAPLEY_PORT", help="0 chooses a free one")
    ] = 8050,
    data: Data = Path(".data"),
    workers: Annotated[int, typer.Option(min=0, help="worker processes")] = 1,
    demo: Annotated[bool, typer.Option(help="score the two demo models, unless that has been done")] = False,
) -> None:
    """Start Redis, the API with the dashboard, and workers; Ctrl-C stops them all."""
    require_server()
    from modelshapley.server.supervisor import Supervisor

    supervisor = Supervisor(data.resolve(), host, port, workers, os.environ)
    raise typer.Exit(supervisor.run(demo=demo))


def web(
    host: Annotated[str, typer.Option(envvar="MODELSHAPLEY_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="MODELSHAPLEY_PORT")] = 8050,
    data: Data = Path(".data"),
) -> None:
    """Start only the API with the dashboard, for the Redis in MODELSHAPLEY_REDIS_URL."""
    from modelshapley.server.addresses import refuse_open_host

    refuse_open_host(host, os.environ.get("MODELSHAPLEY_API_KEY"))
    arguments = ("--factory", "--host", host, "--port", str(port))
    replace_process(data, "uvicorn", "frontend.asgi:create", *arguments, MODELSHAPLEY_HOST=host)


def worker(data: Data = Path(".data")) -> None:
    """Start only one worker, for the Redis in MODELSHAPLEY_REDIS_URL."""
    replace_process(data, "workers.main")


def doctor(data: Data = Path(".data")) -> None:
    """Look at an installation, and say what is wrong with it; exits with 1 if something is."""
    replace_process(data, "backend.commands.doctor")


BackupFile = Annotated[Path, typer.Argument(help="tar file")]


def backup(file: BackupFile, data: Data = Path(".data")) -> None:
    """Write records, maps, models and datasets of a data directory to one file, while servers work or not."""
    replace_process(data, "backend.commands.backup", "backup", str(file.resolve()))


def restore(file: BackupFile, data: Data = Path(".data")) -> None:
    """Write a backup to a new data directory."""
    replace_process(data, "backend.commands.backup", "restore", str(file.resolve()))


def replace_process(data: Path, module: str, *arguments: str, **variables: str) -> None:
    """Replace this process by another one, so that signals reach it directly. Raises ModelShapleyError without the
    packages of the server."""
    require_server()
    environment = os.environ | {"MODELSHAPLEY_DATA": str(data.resolve())} | variables
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)  # noqa: S606


def require_server() -> None:
    """Raise ModelShapleyError unless the packages of the server are installed."""
    require("This command is one of the server, which needs", "server", *SERVER)
