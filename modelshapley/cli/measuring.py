"""Commands that need no server: score, evaluate, verify and compare; and `report`, which saves a server's report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from modelshapley.api import load_model, load_task, model_folder
from modelshapley.cli.options import (
    ApiKey,
    Data,
    Datasets,
    Device,
    Model,
    Precision,
    ServerUrl,
    TaskName,
    notes,
    progress,
)
from modelshapley.errors import ModelShapleyError
from modelshapley.units import DEFAULT_KINDS, UnitKind

if TYPE_CHECKING:
    from modelshapley.maps.rank_matrix import RankMatrix


def score(
    model: Model,
    task: TaskName,
    out: Annotated[Path, typer.Option(help="file to write the map to (safetensors)")],
    method: Annotated[str, typer.Option(help="id of a method, such as path-shapley,points=4")] = "two-sided",
    units: Annotated[list[UnitKind] | None, typer.Option(help="kinds of unit; repeat for several")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most this many probe examples")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="also a map of every class, each in its own file")
    ] = False,
    datasets: Datasets = None,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """Score a model on a task and write its importance map. Needs no server."""
    from modelshapley.methods import load_method
    from modelshapley.scoring.job import Scoring, accumulate

    if not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    loaded_task, loaded_method = load_task(task, datasets, data), load_method(method)
    loaded = load_model(model, device, dtype, data, notes.print)
    loaded_task.check(loaded)
    kinds = units or [kind for kind in DEFAULT_KINDS if kind in loaded.anatomy.shapes.kinds]
    scoring = Scoring(loaded, loaded_task, [loaded_method], kinds, limit, seed, per_class)
    with progress(f"{model} on {task} by {method}") as tell:
        sums = accumulate(scoring, tell)
    for label in (None, *scoring.classes(sums)):
        (importance_map,) = scoring.maps(sums, label).values()
        file = out if label is None else out.with_name(f"{out.stem}.{quote(label, safe='')}{out.suffix}")
        importance_map.save(file)
        shapes = ", ".join(f"{kind.value}s {scores.shape}" for kind, scores in importance_map.scores.items())
        typer.echo(f"{file}: {shapes}; n = {importance_map.provenance['n']}")
        for unit, found in importance_map.provenance.get("completeness", {}).items():
            typer.echo(f"{unit}s: completeness gap {100 * found['gap']:.1f} % of {found['worth']:.4g} nats")
        for note in importance_map.notes():
            typer.echo(note)


def verify(model: Model, device: Device = "cpu", dtype: Precision = "float32", data: Data = Path(".data")) -> None:
    """Load a model and check that switching units off equals zeroing their weights."""
    from modelshapley.models.loading import load

    folder = model_folder(model, data, notes.print)
    loaded = load(folder, device, dtype)
    shapes = folder.anatomy.shapes
    counts = ", ".join(f"{shapes.count(kind):,} {kind.value}s" for kind in shapes.kinds)
    typer.echo(f"{model}: verified ({folder.anatomy.model_type}; {counts})")
    for note in loaded.notes:
        typer.echo(note)


def compare(
    files: Annotated[list[Path], typer.Argument(help="files of maps, two to eight", metavar="MAP MAP ...")],
    anyway: Annotated[bool, typer.Option("--anyway", help="even if the tasks have different fingerprints")] = False,
) -> None:
    """Compare maps: rank correlation, and of two maps the share of most important units that both have."""
    from modelshapley.maps.compare import compare_maps, differences
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.maps.rank_matrix import MOST_MAPS, check_tasks, rank_matrix

    if not 2 <= len(files) <= MOST_MAPS:
        raise ModelShapleyError(f"Name two to {MOST_MAPS} files of maps, not {len(files)}.")
    maps = [ImportanceMap.load(file) for file in files]
    if len(maps) > 2:
        named = {f"[{number}] {file}": map_ for number, (file, map_) in enumerate(zip(files, maps, strict=True), 1)}
        if not anyway:
            check_tasks(named)
        for kind in dict.fromkeys(kind for map_ in maps for kind in map_.scores):
            _print_matrix(rank_matrix(named, kind))
        return
    comparisons = compare_maps(maps[0], maps[1], anyway)
    for name, (a, b) in differences(maps[0], maps[1]).items():
        typer.echo(f"{name} differs: {a}, {b}")
    for comparison in comparisons:
        rho = "none (a map is constant)" if comparison.rho is None else f"{comparison.rho:.3f}"
        top = ", ".join(f"{100 * share:.0f} %: {100 * both:.0f} %" for share, both in comparison.overlap.items())
        typer.echo(f"{comparison.units:,} {comparison.kind.value}s: Spearman {rho}; of the top {top} are shared")


def _print_matrix(matrix: RankMatrix) -> None:
    """Print the correlations of a kind of unit: a row and a column for each map."""
    typer.echo(f"{matrix.kind.value}s: Spearman")
    width = max((len(name) for name in matrix.names), default=0)
    for name, row in zip(matrix.names, matrix.rho, strict=True):
        numbers = "".join("   none" if rho is None else f"{rho:7.3f}" for rho in row)
        typer.echo(f"  {name:{width}}{numbers}")
    for name, reason in matrix.refused.items():
        typer.echo(f"  {name} is left out: {reason}")


def report(
    run: Annotated[str, typer.Argument(help="id of a finished run")],
    out: Annotated[Path, typer.Option(help="file to write (HTML)")],
    method: Annotated[str | None, typer.Option(help="method of the maps; default: the run's first")] = None,
    url: ServerUrl = "http://127.0.0.1:8050",
    api_key: ApiKey = None,
) -> None:
    """Write a finished run of a server as one HTML file that opens without a server or a network."""
    from modelshapley.client import Client

    if not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    with Client(url, api_key) as api:
        api.save_report(run, out, method)
    typer.echo(f"{out}: {out.stat().st_size:,} bytes")


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
    """Evaluate a model on a task's test part: accuracy, loss and perplexity."""
    from modelshapley.evaluation.accuracy import evaluate as measure
    from modelshapley.evaluation.intervals import mean_half_width, mean_interval
    from modelshapley.tasks.base import Split
    from modelshapley.units import Deactivation

    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, dtype, data, notes.print)
    loaded_task.check(loaded)
    examples = loaded_task.select(loaded, Split.TEST, seed, limit)
    with progress(f"{model} on {loaded_task.info.id}") as tell:
        result = measure(loaded, loaded_task, Deactivation(), examples, None, lambda n: tell(n, 2 * len(examples)))
    low, high = mean_interval(result.outcomes)
    typer.echo(f"accuracy {100 * result.outcomes.mean():.1f} % [{100 * low:.1f}, {100 * high:.1f}], n {len(examples)}")
    typer.echo(f"loss {result.losses.mean():.3f} ± {mean_half_width(result.losses):.3f} nats")
    if result.token_shares is not None:
        typer.echo(f"perplexity {result.perplexity:.3f}; tokens right {100 * result.token_shares.mean():.1f} %")
    for bad in loaded_task.skipped_rows(loaded, Split.TEST, seed, limit):
        typer.echo(f"left out: {bad.count}, {bad.reason} ({'; '.join(bad.rows)})")
