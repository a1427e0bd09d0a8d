"""The command line. `up` and `worker` start other processes by module name and import none of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from modelshapley import cli_tasks, hub
from modelshapley.catalog import SMOLLM2, Catalog, ModelFolder, inspect_folder
from modelshapley.cli_tasks import Data, Datasets, Device, Model, Precision, TaskName, find_task, progress
from modelshapley.contracts import Dtype
from modelshapley.errors import ModelShapleyError
from modelshapley.units import USUAL, UnitKind

if TYPE_CHECKING:
    from modelshapley.models import LoadedModel

app = typer.Typer(
    help="Which neurons, heads and layers of a transformer carry a task?",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(cli_tasks.app, name="task")
app.add_typer(cli_tasks.reproduce, name="reproduce")
app.command()(cli_tasks.evaluate)
notes = Console(stderr=True, highlight=False)


@app.command()
def score(
    model: Model,
    task: TaskName,
    out: Annotated[Path, typer.Option(help="file to write the map to (safetensors)")],
    method: Annotated[str, typer.Option(help="id of a method, such as path-shapley,points=4")] = "two-sided",
    units: Annotated[list[UnitKind] | None, typer.Option(help="kinds of unit; repeat for several")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most this many probe examples")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="a map of every class, too, in a file of its own")
    ] = False,
    datasets: Datasets = None,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """Score a model on a task and write its importance map. Needs no server."""
    from modelshapley.methods import load_method
    from modelshapley.scoring import Scoring, add_up

    if not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    loaded_task, loaded_method = find_task(task, data, datasets), load_method(method)
    loaded = open_model(model, data, device, dtype)
    loaded_task.check(loaded)
    kinds = units or [kind for kind in USUAL if kind in loaded.anatomy.shapes.kinds]
    scoring = Scoring(loaded, loaded_task, [loaded_method], kinds, limit, seed, per_class)
    with progress(f"{model} on {task} by {method}") as tell:
        sums = add_up(scoring, tell)
    for label in (None, *scoring.classes(sums)):
        (importance_map,) = scoring.maps(sums, label).values()
        file = out if label is None else out.with_name(f"{out.stem}.{quote(label, safe='')}{out.suffix}")
        importance_map.save(file)
        shapes = ", ".join(f"{kind.value}s {scores.shape}" for kind, scores in importance_map.scores.items())
        typer.echo(f"{file}: {shapes}; n = {importance_map.provenance['n']}")


@app.command()
def verify(model: Model, device: Device = "cpu", dtype: Precision = "float32", data: Data = Path(".data")) -> None:
    """Load a model and check that switching units off equals zeroing their weights."""
    from modelshapley.models import load

    folder = _folder(model, data)
    load(folder, device, dtype)
    shapes = folder.anatomy.shapes
    counts = ", ".join(f"{shapes.count(kind):,} {kind.value}s" for kind in shapes.kinds)
    typer.echo(f"{model}: verified ({folder.anatomy.model_type}; {counts})")


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(help="file of a map")],
    other: Annotated[Path, typer.Argument(help="file of another")],
    anyway: Annotated[bool, typer.Option("--anyway", help="also of tasks with different fingerprints")] = False,
) -> None:
    """How alike two maps are: rank correlation, and the share of most important units that both have."""
    from modelshapley.compare import compare_maps, differences
    from modelshapley.importance import ImportanceMap

    maps = [ImportanceMap.load(file) for file in (one, other)]
    found = compare_maps(maps[0], maps[1], anyway)
    for name, (a, b) in differences(maps[0], maps[1]).items():
        typer.echo(f"{name} differs: {a}, {b}")
    for like in found:
        rho = "none (a map is constant)" if like.rho is None else f"{like.rho:.3f}"
        top = ", ".join(f"{100 * share:.0f} %: {100 * both:.0f} %" for share, both in like.overlap.items())
        typer.echo(f"{like.units:,} {like.kind.value}s: Spearman {rho}; of the top {top} are shared")


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="id of a finished run")],
    out: Annotated[Path, typer.Option(help="file to write (HTML)")],
    method: Annotated[str | None, typer.Option(help="whose maps; left out: the run's first method")] = None,
    url: Annotated[str, typer.Option(help="of the server")] = "http://127.0.0.1:8050",
    api_key: Annotated[
        str | None, typer.Option(envvar="MODELSHAPLEY_API_KEY", help="where the server wants one")
    ] = None,
) -> None:
    """Write a finished run of a server as one HTML file that opens without a server or a network."""
    from modelshapley.client import Client

    if not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    with Client(url, api_key) as api:
        api.save_report(run, out, method)
    typer.echo(f"{out}: {out.stat().st_size:,} bytes")


@app.command()
def up(
    host: Annotated[str, typer.Option(envvar="MODELSHAPLEY_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, envvar="MODELSHAPLEY_PORT", help="0: a free one")] = 8050,
    data: Data = Path(".data"),
    workers: Annotated[int, typer.Option(min=0, help="worker processes")] = 1,
    demo: Annotated[bool, typer.Option(help="score the two demo models if that has not been done yet")] = False,
) -> None:
    """Start Redis, the API with the dashboard, and workers; Ctrl-C stops them all."""
    from modelshapley.up import Stack

    stack = Stack(data.resolve(), host, port, workers, os.environ)
    raise typer.Exit(stack.run(demo=demo))


@app.command()
def web(
    host: Annotated[str, typer.Option(envvar="MODELSHAPLEY_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="MODELSHAPLEY_PORT")] = 8050,
    data: Data = Path(".data"),
) -> None:
    """Start only the API with the dashboard, for the Redis in MODELSHAPLEY_REDIS_URL."""
    _become(data, "uvicorn", "frontend.asgi:create", "--factory", "--host", host, "--port", str(port))


@app.command()
def worker(data: Data = Path(".data")) -> None:
    """Start only one worker, for the Redis in MODELSHAPLEY_REDIS_URL."""
    _become(data, "workers.main")


def _become(data: Path, module: str, *arguments: str) -> None:
    """Turn this process into another, so that signals reach it."""
    environment = os.environ | {"MODELSHAPLEY_DATA": str(data.resolve())}
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)  # noqa: S606


def open_model(model: str, data: Path, device: str = "cpu", dtype: Dtype = "float32") -> LoadedModel:
    """The verified model of this id, or in this folder."""
    from modelshapley.models import load

    return load(_folder(model, data), device, dtype)


def _folder(model: str, data: Path) -> ModelFolder:
    path = Path(model)
    if ":" not in model or path.is_dir():
        if not path.is_dir():
            if not hub.NAME.fullmatch(model):
                raise ModelShapleyError(f"{model!r} is neither a folder, nor demo:NAME, local:NAME or OWNER/NAME.")
            path = hub.model_folder(model)
        return inspect_folder(model, path.resolve())
    catalog = Catalog(data)
    if model == SMOLLM2:
        from modelshapley.demo import prepare_smollm2

        prepare_smollm2(catalog.smollm2_folder, notes.print)
    catalog.fetch(model)
    return catalog.folder(model)


def main() -> None:
    """Entry point: errors in words, no traceback."""
    try:
        app()
    except ModelShapleyError as error:
        notes.print(f"[bold red]error[/]: {error}", soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
