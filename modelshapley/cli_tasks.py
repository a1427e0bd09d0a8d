"""The command line's part about tasks: look at one, measure a model on it, reproduce the paper's experiment."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from modelshapley.contracts import Dtype
from modelshapley.errors import ModelShapleyError
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.fields import describe_fields
from modelshapley.tasks.shown import TaskCheck
from modelshapley.tasks.spec import read_file, to_yaml

if TYPE_CHECKING:
    from modelshapley.tasks.base import Task

MODEL_HELP = "demo:NAME, local:NAME, the path of a folder with safetensors, or OWNER/NAME of the Hugging Face hub"
TASK_FILES = (".yaml", ".yml", ".json")
app = typer.Typer(help="Tasks: what is asked of a model and what counts as right.", no_args_is_help=True)
notes = Console(stderr=True, highlight=False)
page = Console(highlight=False)

Model = Annotated[str, typer.Argument(help=MODEL_HELP)]
Data = Annotated[Path, typer.Option(help="data directory", envvar="MODELSHAPLEY_DATA")]
Device = Annotated[str, typer.Option(help="torch device: cpu, cuda, ...; spread: over all CUDA devices")]
Precision = Annotated[Dtype, typer.Option(help="of weights and activations")]
TaskName = Annotated[str, typer.Option(help="name of a task, or a task file (docs/tasks.md)")]
Datasets = Annotated[
    Path | None,
    typer.Option(
        help="folder whose subfolders are the data of tasks, by their names; default: datasets in --data"
    ),
]


def find_task(name: str, data: Path, datasets: Path | None = None) -> Task[Any]:
    """A task by its name, or the task in a file. Raises UnknownName, BadTask."""
    root = datasets or data / "datasets"
    if datasets is not None and not datasets.is_dir():
        raise ModelShapleyError(f"There is no folder {str(datasets)!r} of data.")
    file = Path(name)
    if file.suffix in TASK_FILES:
        return TaskCatalog([file.absolute().parent, root], confined=False).open(read_file(file))
    return TaskCatalog([root]).load(name)


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A bar with what is done and the time left; gives a function (done, total, what)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes) as bars:
        bar = bars.add_task(title, total=None)

        def tell(done: int, total: int, what: str = title) -> None:
            bars.update(bar, completed=done, total=total, description=what)

        yield tell


@app.command("list")
def list_tasks() -> None:
    """The tasks that come with the project."""
    table = Table("name", "kind", "what it is", "data", box=None)
    for info in TaskCatalog().infos():
        table.add_row(info.id, info.kind, escape(info.summary), escape(info.source))
    page.print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="name of a task")]) -> None:
    """The task file of a task that comes with the project: a beginning for one of your own."""
    spec = TaskCatalog().file(name)
    if spec is None:
        raise ModelShapleyError(f"Task {name!r} is made by code and has no file.")
    typer.echo(to_yaml(spec), nl=False)


@app.command()
def fields() -> None:
    """The fields of a task file, for each kind."""
    for title, rows in describe_fields().items():
        table = Table(
            "field", "default", "what it is", title=title, title_justify="left", box=None, show_lines=False
        )
        for name, default, words in rows:
            table.add_row(name, default.strip("`"), escape(words))
        page.print(table, "")


@app.command()
def check(
    task: Annotated[str, typer.Argument(help="a task file, or the name of a task")],
    model: Annotated[str | None, typer.Option(help="the model that is to do it")] = None,
    datasets: Datasets = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    data: Data = Path(".data"),
) -> None:
    """Show a task's first examples as the model sees them, and what would stop a run (then it exits with 1)."""
    from modelshapley.cli import open_model
    from modelshapley.tasks.check import check_task

    found = check_task(find_task(task, data, datasets), open_model(model, data) if model else None, seed)
    _print(found)
    raise typer.Exit(1 if found.problems else 0)


def _print(found: TaskCheck) -> None:
    info = found.info
    assert info is not None
    page.print(f"[bold]{escape(info.title)}[/] · {info.kind} · {escape(info.source)}")
    page.print(f"{info.probe_examples:,} probe examples, {info.test_examples:,} test examples")
    if found.classes:
        some = ", ".join(f"{escape(name)} {n}" for name, n in list(found.classes.items())[:12])
        page.print(f"{len(found.classes)} classes: {some}{' ...' if len(found.classes) > 12 else ''}")
    if found.longest is not None:
        page.print(f"longest: {found.longest:,} tokens; the model reads {found.context or 'any number of'}")
    for bad in found.bad:
        page.print(f"[yellow]{bad.count} bad[/]: {escape(bad.reason)} ({escape('; '.join(bad.rows))})")
    for example in found.examples:
        page.rule(escape(example.row), align="left")
        if example.tokens:
            page.print(
                "".join(f"[reverse]{escape(t.text)}[/]" if t.loss else escape(t.text) for t in example.tokens)
            )
        else:
            page.print(escape(example.text) or "(a picture)")
        page.print(f"[bold]right[/]: {escape(example.right)}")
    if any(example.tokens for example in found.examples):
        page.print("\nTokens that count in the loss are shown reversed.")
    for problem in found.problems:
        page.print(f"[bold red]problem[/]: {escape(problem)}", soft_wrap=True)
    page.print(f"fingerprint {found.fingerprint}")


def evaluate(
    model: Model,
    task: TaskName,
    datasets: Datasets = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most this many test examples")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """The accuracy of a model on a task's test part, as its field reports it."""
    from modelshapley.cli import open_model
    from modelshapley.evaluation import evaluate as measure
    from modelshapley.intervals import mean_interval, mean_reach
    from modelshapley.tasks.base import Split
    from modelshapley.units import Deactivation

    found_task = find_task(task, data, datasets)
    loaded = open_model(model, data, device, dtype)
    found_task.check(loaded)
    examples = found_task.select(loaded, Split.TEST, seed, limit)
    with progress(f"{model} on {found_task.info.id}") as tell:
        found = measure(loaded, found_task, Deactivation(), examples, None, lambda n: tell(n, 2 * len(examples)))
    low, high = mean_interval(found.outcomes)
    typer.echo(
        f"accuracy {100 * found.outcomes.mean():.1f} % [{100 * low:.1f}, {100 * high:.1f}], n {len(examples)}"
    )
    typer.echo(f"loss {found.losses.mean():.3f} ± {mean_reach(found.losses):.3f} nats")
    if found.token_shares is not None:
        typer.echo(f"perplexity {found.perplexity:.3f}; tokens right {100 * found.token_shares.mean():.1f} %")
    for bad in found_task.left_out(loaded, Split.TEST, seed, limit):
        typer.echo(f"left out: {bad.count}, {bad.reason} ({'; '.join(bad.rows)})")


reproduce = typer.Typer(
    help="The paper's experiments, on a model and a task of your choice.", no_args_is_help=True
)


@reproduce.callback()
def _experiments() -> None:
    """So that one command stays a command of its own."""


@reproduce.command()
def deactivation(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    task: TaskName,
    method: Annotated[list[str] | None, typer.Option(help="repeat for several; default: as in the paper")] = None,
    fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="of the neurons, off; default: the paper's")
    ] = None,
    limit: Annotated[int, typer.Option(min=2, help="at most this many examples of either part")] = 256,
    answers: Annotated[
        int | None, typer.Option(min=0, help="test examples that are answered; all by default")
    ] = None,
    datasets: Datasets = None,
    out: Annotated[Path | None, typer.Option(help="file to write the table to, as Markdown")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """Switch off the neurons that each method finds least important, and measure (paper, Table 1)."""
    from modelshapley import reproduce as experiments
    from modelshapley.cli import open_model

    if out is not None and not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    found_task = find_task(task, data, datasets)
    loaded = open_model(model, data, device, dtype)
    found_task.check(loaded)
    with progress(f"{model} on {found_task.info.id}") as tell:
        found = experiments.deactivation(
            loaded,
            found_task,
            method or experiments.METHODS,
            fraction=fraction,
            limit=limit,
            answers=answers,
            seed=seed,
            on_step=lambda what, done, total: tell(done, total, what),
        )
    table = experiments.markdown(found, shlex.join(["modelshapley", *sys.argv[1:]]))
    if out is not None:
        out.write_text(table, encoding="utf-8")
        notes.print(f"Written to {out}.")
    typer.echo(table)
