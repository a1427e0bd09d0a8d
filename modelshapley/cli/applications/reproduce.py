"""`modelshapley reproduce`: experiments of the paper."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelshapley.api import load_model, load_task, model_folder
from modelshapley.cli.options import MODEL_HELP, Data, Datasets, Device, Precision, TaskName, notes, progress
from modelshapley.errors import ModelShapleyError

Out = Annotated[Path | None, typer.Option(help="file to write the table to, as Markdown")]
app = typer.Typer(help="The paper's experiments, on a model and a task of your choice.", no_args_is_help=True)


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
    out: Out = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """Switch off the neurons that each method finds least important, and measure (paper, Table 1)."""
    from modelshapley.evaluation import reproduce as experiments

    _require_parent(out)
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
    _publish(experiments.markdown(result, _command()), out)


@app.command()
def finetuning(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    task: TaskName,
    method: Annotated[list[str] | None, typer.Option(help="repeat for several; default: as in the paper")] = None,
    share: Annotated[float, typer.Option(help="share of the neurons that train; default: the paper's")] = 0.1,
    steps: Annotated[int, typer.Option(min=1, help="steps of AdamW")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="examples of a pass")] = 8,
    accumulate: Annotated[int, typer.Option(min=1, help="passes of a step")] = 1,
    paper: Annotated[bool, typer.Option("--paper", help="the paper's settings: rate 3e-5")] = False,
    control: Annotated[list[str] | None, typer.Option(help="lora, full; default: both; none: none")] = None,
    limit: Annotated[int, typer.Option(min=2, help="at most this many examples of either part")] = 256,
    answers: Annotated[int | None, typer.Option(min=0, help="number of test examples to answer; default: all")] = None,
    datasets: Datasets = None,
    out: Out = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Train the neurons that each method finds most important, and measure (paper, Table 1)."""
    from modelshapley.applications.reproducing import finetuning as experiments
    from modelshapley.contracts.applications.finetuning import PAPER, FinetuneSettings
    from modelshapley.evaluation.reproduce import METHODS

    _require_parent(out)
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, "float32", data, notes.print)
    loaded_task.check(loaded)
    settings = (PAPER if paper else FinetuneSettings()).model_copy(
        update={"steps": steps, "batch": batch, "accumulate": accumulate}
    )
    with progress(f"{model} on {loaded_task.info.id}") as tell:
        result = experiments.reproduce_finetuning(
            loaded,
            loaded_task,
            method or METHODS,
            share=share,
            settings=settings,
            controls=experiments.CONTROLS if control is None else control,
            limit=limit,
            answers=answers,
            seed=seed,
            on_step=lambda what, done, total: tell(done, total, what),
        )
    _publish(experiments.markdown(result, _command()), out)


@app.command()
def compression(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    task: TaskName,
    scheme: Annotated[list[str] | None, typer.Option(help="repeat for several; default: all that can be done")] = None,
    beta: Annotated[list[float] | None, typer.Option(help="of paper-algorithm-1; default: the paper's five")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most this many probe examples for calibration")] = 64,
    datasets: Datasets = None,
    out: Out = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Quantise a model in several ways, and measure each beside its parent (paper, Table 2). Extra: compress."""
    from modelshapley.applications.quantising.schemes import scheme_named
    from modelshapley.applications.reproducing import compression as experiments

    _require_parent(out)
    schemes = scheme or experiments.default_schemes()
    for name in schemes:
        scheme_named(name)
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, "float32", data, notes.print)
    infos = experiments.reproduce_compression(
        loaded,
        loaded_task,
        model_folder(model, data).path,
        schemes,
        betas=beta or experiments.BETAS,
        limit=limit,
        seed=seed,
        notify=lambda message: notes.print(f"{message} ..."),
    )
    _publish(experiments.markdown(infos, loaded_task.info.title, _command()), out)


def _require_parent(out: Path | None) -> None:
    """Raise ModelShapleyError unless the file's folder exists."""
    if out is not None and not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")


def _command() -> str:
    return shlex.join(["modelshapley", *sys.argv[1:]])


def _publish(table: str, out: Path | None) -> None:
    """Print a table, and write it to a file if one was named."""
    if out is not None:
        out.write_text(table, encoding="utf-8")
        notes.print(f"Written to {out}.")
    typer.echo(table)
