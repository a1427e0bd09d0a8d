"""Options and consoles that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from modelshapley.contracts import Dtype

MODEL_HELP = "demo:NAME, local:NAME, the path of a folder with safetensors, or OWNER/NAME of the Hugging Face hub"
notes = Console(stderr=True, highlight=False)
page = Console(highlight=False)

Model = Annotated[str, typer.Argument(help=MODEL_HELP)]
Data = Annotated[Path, typer.Option(help="data directory", envvar="MODELSHAPLEY_DATA")]
Device = Annotated[str, typer.Option(help="torch device: cpu, cuda, ...; spread: over all CUDA devices")]
Precision = Annotated[Dtype, typer.Option(help="dtype of weights and activations")]
TaskName = Annotated[str, typer.Option(help="name of a task, or a task file (docs/tasks.md)")]
Datasets = Annotated[
    Path | None,
    typer.Option(help="folder with one subfolder of data for each task, by name; default: datasets in --data"),
]
ServerUrl = Annotated[str, typer.Option(help="address of the server")]
ApiKey = Annotated[str | None, typer.Option(envvar="MODELSHAPLEY_API_KEY", help="API key, if the server needs one")]


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """Show a progress bar; yield a function (done, total, title) that updates it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes) as bars:
        bar = bars.add_task(title, total=None)

        def update(done: int, total: int, label: str = title) -> None:
            bars.update(bar, completed=done, total=total, description=label)

        yield update
