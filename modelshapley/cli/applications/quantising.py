"""Command that quantises a model and says what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelshapley.api import load_model, load_task, model_folder
from modelshapley.cli.choosing import require_new
from modelshapley.cli.options import Data, Datasets, Device, Model, TaskName, notes


def quantise(
    model: Model,
    task: TaskName,
    scheme: Annotated[
        str,
        typer.Option(
            help="gptq-w4, rtn-w4, gptq-w8a8, fp8 (on a GPU); for comparison paper-algorithm-1, paper-released"
        ),
    ],
    out: Annotated[Path, typer.Option(help="new folder for the quantised model")],
    beta: Annotated[float, typer.Option(help="of paper-algorithm-1, 0 to 1")] = 0.5,
    limit: Annotated[int, typer.Option(min=1, help="at most this many probe examples for calibration")] = 64,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    datasets: Datasets = None,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Save a model with weights of fewer bits, and measure it beside its parent. Needs no server."""
    from modelshapley.applications.quantising.quantise import quantise as run
    from modelshapley.applications.quantising.reporting import describe
    from modelshapley.applications.quantising.schemes import scheme_named

    scheme_named(scheme)
    require_new(out)
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, "float32", data, notes.print)
    info = run(
        loaded, loaded_task, scheme, out, parent_folder=model_folder(model, data).path, beta=beta, limit=limit,
        seed=seed, notify=lambda message: notes.print(f"{message} ..."),
    )  # fmt: skip
    for line in describe(info):
        typer.echo(line)
