"""Commands that ask what the important units hold: probe and amplify. Neither changes the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelshapley.api import load_model, load_task
from modelshapley.cli.choosing import map_of, share_of
from modelshapley.cli.options import Data, Datasets, Device, Model, TaskName, notes, progress
from modelshapley.formatting import percent, percent_interval, points, points_interval

if TYPE_CHECKING:
    from modelshapley.contracts.applications.reports import AmplifyReport, ProbeReport
    from modelshapley.contracts.runs import Measured
    from modelshapley.models.loaded import LoadedModel
    from modelshapley.tasks.base import Task
    from modelshapley.units import Deactivation

Most = Annotated[
    list[str],
    typer.Option("--most", help="the most important units: KIND=SHARE, such as neuron=0.1; repeat for several kinds"),
]
Method = Annotated[str, typer.Option(help="method that chooses the units")]
MapFile = Annotated[Path | None, typer.Option("--map", help="a map to choose by, instead of scoring now")]
Limit = Annotated[int, typer.Option(min=1, help="at most this many probe examples")]
Seed = Annotated[int, typer.Option(min=0)]
SameLayers = Annotated[bool, typer.Option("--same-layers", help="draw as many random units of each layer")]
Json = Annotated[bool, typer.Option("--json", help="print the report as JSON")]


def probe(
    model: Model,
    task: TaskName,
    most: Most,
    method: Method = "two-sided",
    map_file: MapFile = None,
    draws: Annotated[int, typer.Option(min=1, max=1000, help="random draws of as many units")] = 20,
    same_layers: SameLayers = False,
    limit: Limit = 256,
    seed: Seed = 0,
    json: Json = False,
    datasets: Datasets = None,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Read the classes linearly from the most important units, beside random ones and all. Needs no server."""
    from modelshapley.applications.probing.probe import probe as run

    loaded, loaded_task, units = _chosen(model, task, most, method, map_file, limit, seed, datasets, device, data)
    with progress("Recording activations") as tell:
        report = run(loaded, loaded_task, units, limit, seed, draws, same_layers, on_progress=tell)
    if json:
        typer.echo(report.model_dump_json())
    else:
        _echo_probe(report)


def amplify(
    model: Model,
    task: TaskName,
    most: Most,
    factor: Annotated[
        list[float] | None, typer.Option(help="factor from 1 to 2; repeat for several; default: 1.1 to 1.5")
    ] = None,
    method: Method = "two-sided",
    map_file: MapFile = None,
    draws: Annotated[int, typer.Option(min=1, max=1000, help="random draws of as many units")] = 5,
    same_layers: SameLayers = False,
    limit: Limit = 256,
    seed: Seed = 0,
    json: Json = False,
    datasets: Datasets = None,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Scale up the most important units, beside random ones, and measure the accuracy. Needs no server."""
    from modelshapley.applications.probing.amplify import FACTORS
    from modelshapley.applications.probing.amplify import amplify as run

    loaded, loaded_task, units = _chosen(model, task, most, method, map_file, limit, seed, datasets, device, data)
    with progress("Measuring") as tell:
        report = run(loaded, loaded_task, units, factor or FACTORS, seed, draws, same_layers, on_progress=tell)
    if json:
        typer.echo(report.model_dump_json())
    else:
        _echo_amplified(report)


def _chosen(
    model: str,
    task: str,
    most: list[str],
    method: str,
    map_file: Path | None,
    limit: int,
    seed: int,
    datasets: Path | None,
    device: str,
    data: Path,
) -> tuple[LoadedModel, Task[Any], Deactivation]:
    """Return model, task and the most important units by a map. Raises ModelShapleyError."""
    from modelshapley.applications.selection import merged

    shares = dict(share_of(text) for text in most)
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, "float32", data, notes.print)
    loaded_task.check(loaded)
    importance_map = map_of(map_file, loaded, loaded_task, method, list(shares), limit, seed)
    return loaded, loaded_task, merged([importance_map.most(kind, share) for kind, share in shares.items()])


def _echo_probe(report: ProbeReport) -> None:
    draws = len(report.random)
    typer.echo(f"{report.classes} classes, read linearly from the activations of {report.trained_on} probe examples:")
    for name, measured in (("chosen units", report.chosen), ("all units", report.everything)):
        typer.echo(f"{name}: {_accuracy(measured)}")
    low, high = min(report.random), max(report.random)
    typer.echo(
        f"random units: {percent(report.random_mean)} on average of {draws} draws, {percent(low)} to {percent(high)}"
    )
    typer.echo(f"most frequent class: {_accuracy(report.majority)}")
    typer.echo(
        f"chosen minus random: {points(report.chosen_minus_random)} ({points_interval(report.random_interval)}); "
        f"{sum(value >= report.chosen.accuracy for value in report.random)} of {draws} draws are as accurate"
    )


def _echo_amplified(report: AmplifyReport) -> None:
    typer.echo(f"intact: {_accuracy(report.intact)}")
    for point in report.points:
        trial = point.chosen
        typer.echo(
            f"times {point.factor:g}: accuracy {percent(trial.accuracy)}, {points(trial.difference)} "
            f"({points_interval(trial.difference_interval)}) against intact; random units "
            f"{percent(point.random_mean)}, chosen minus random {points(point.chosen_minus_random)} "
            f"({points_interval(point.random_interval)})"
        )


def _accuracy(measured: Measured) -> str:
    return f"accuracy {percent(measured.accuracy)} ({percent_interval(measured.interval)}), n {measured.n}"
