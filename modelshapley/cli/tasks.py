"""`modelshapley task`: lists tasks, and previews one as a model would see it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from modelshapley.api import load_model, load_task
from modelshapley.cli.options import Data, Datasets, notes, page
from modelshapley.contracts.task_files.descriptions import TaskCheck
from modelshapley.contracts.task_files.file import to_yaml
from modelshapley.errors import ModelShapleyError
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.fields import describe_fields
from modelshapley.tasks.lm_eval import import_task

app = typer.Typer(help="Tasks: the questions to a model and what counts as right.", no_args_is_help=True)


@app.command("list")
def list_tasks() -> None:
    """List the built-in tasks."""
    table = Table("name", "kind", "what it is", "data", box=None)
    for info in TaskCatalog().infos():
        table.add_row(info.id, info.kind, escape(info.summary), escape(info.source))
    page.print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="name of a task")]) -> None:
    """Print the task file of a built-in task, to start your own from."""
    spec = TaskCatalog().file(name)
    if spec is None:
        raise ModelShapleyError(f"Task {name!r} is defined in code and has no file.")
    typer.echo(to_yaml(spec), nl=False)


@app.command()
def fields() -> None:
    """List the fields of a task file, for each kind."""
    for title, rows in describe_fields().items():
        table = Table("field", "default", "what it is", title=title, title_justify="left", box=None, show_lines=False)
        for name, default, words in rows:
            table.add_row(name, default.strip("`"), escape(words))
        page.print(table, "")


@app.command()
def check(
    task: Annotated[str, typer.Argument(help="a task file, or the name of a task")],
    model: Annotated[str | None, typer.Option(help="model that the task is for")] = None,
    datasets: Datasets = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    data: Data = Path(".data"),
) -> None:
    """Show a task's first examples as the model sees them, and what would stop a run (then it exits with 1)."""
    from modelshapley.tasks.preview import check_task

    preview = check_task(
        load_task(task, datasets, data), load_model(model, data=data, notify=notes.print) if model else None, seed
    )
    _print(preview)
    raise typer.Exit(1 if preview.problems else 0)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="task of lm-evaluation-harness, in YAML", exists=True, dir_okay=False)],
) -> None:
    """Print the task file of a task of lm-evaluation-harness, with notes on what differs."""
    imported = import_task(file.read_text(encoding="utf-8"), str(file))
    for note in imported.notes:
        typer.echo(f"# {note}")
    typer.echo(to_yaml(imported.spec), nl=False)


def _print(preview: TaskCheck) -> None:
    info = preview.info
    assert info is not None
    page.print(f"[bold]{escape(info.title)}[/] · {info.kind} · {escape(info.source)}")
    page.print(f"{info.probe_examples:,} probe examples, {info.test_examples:,} test examples")
    if preview.classes:
        classes = ", ".join(f"{escape(name)} {n}" for name, n in list(preview.classes.items())[:12])
        page.print(f"{len(preview.classes)} classes: {classes}{' ...' if len(preview.classes) > 12 else ''}")
    if preview.longest is not None:
        page.print(f"longest: {preview.longest:,} tokens; the model reads {preview.context or 'any number of'}")
    for bad in preview.bad:
        page.print(f"[yellow]{bad.count} bad[/]: {escape(bad.reason)} ({escape('; '.join(bad.rows))})")
    for example in preview.examples:
        page.rule(escape(example.row), align="left")
        if example.tokens:
            page.print("".join(f"[reverse]{escape(t.text)}[/]" if t.loss else escape(t.text) for t in example.tokens))
        else:
            page.print(escape(example.text) or "(a picture)")
        page.print(f"[bold]right[/]: {escape(example.right)}")
    if any(example.tokens for example in preview.examples):
        page.print("\nTokens that count in the loss are shown reversed.")
    for problem in preview.problems:
        page.print(f"[bold red]problem[/]: {escape(problem)}", soft_wrap=True)
    page.print(f"fingerprint {preview.fingerprint}")
