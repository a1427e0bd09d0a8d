"""`modelshapley reproduce`: experiments of the paper."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelshapley.api import load_model, load_task
from modelshapley.cli.options import MODEL_HELP, Data, Datasets, Device, Precision, TaskName, notes, progress
from modelshapley.errors import ModelShapleyError

app = typer.Typer(help="The paper's experiments, on a model and a task of your choice.", no_args_is_help=True)


@app.callback()
def _experiments() -> None:
    """Keep the subcommand's name: typer would merge an app with a single command."""


@app.command()
def deactivation(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    task: TaskName,
    method: Annotated[list[str] | None, typer.Option(help="repeat for several; default: as in the paper")] = None,
    fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="share of the neurons to switch off; default: the paper's")
    ] = None,
    limit: Annotated[int, typer.Option(min=2, help="at most this many examples of either part")] = 256,
    answers: Annotated[int | None, typer.Option(min=0, help="number of test examples to answer; default: all")] = None,
    datasets: Datasets = None,
    out: Annotated[Path | None, typer.Option(help="file to write the table to, as Markdown")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """Switch off the neurons that each method finds least important, and measure (paper, Table 1)."""
    from modelshapley.evaluation import reproduce as experiments

    if out is not None and not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, dtype, data, notes.print)
    loaded_task.check(loaded)
    with progress(f"{model} on {loaded_task.info.id}") as tell:
        result = experiments.reproduce_deactivation(
            loaded,
            loaded_task,
            method or experiments.METHODS,
            fraction=fraction,
            limit=limit,
            answers=answers,
            seed=seed,
            on_step=lambda what, done, total: tell(done, total, what),
        )
    table = experiments.markdown(result, shlex.join(["modelshapley", *sys.argv[1:]]))
    if out is not None:
        out.write_text(table, encoding="utf-8")
        notes.print(f"Written to {out}.")
    typer.echo(table)
