"""Smaller models: prune, which saves one, and recommend, which finds what to remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modelshapley.api import load_model, load_task
from modelshapley.cli.choosing import map_of, require_new, share_of
from modelshapley.cli.options import Data, Datasets, Device, Model, TaskName, notes, progress
from modelshapley.formatting import bytes_as_text, percent, percent_interval, points, points_interval
from modelshapley.units import Deactivation

if TYPE_CHECKING:
    from modelshapley.applications.pruning import Prediction
    from modelshapley.contracts import Comparison
    from modelshapley.contracts.applications.derived import DerivedInfo
    from modelshapley.contracts.applications.recommendations import Recommendation
    from modelshapley.models.loaded import LoadedModel
    from modelshapley.tasks.base import Task

Remove = Annotated[
    list[str],
    typer.Option(help="what to remove: KIND=SHARE, such as neuron=0.25 or layer=0.1; repeat for several kinds"),
]


def prune(
    model: Model,
    task: TaskName,
    remove: Remove,
    out: Annotated[Path, typer.Option(help="new folder for the smaller model")],
    method: Annotated[
        str, typer.Option(help="method that chooses the units; block-influence for layers, reap for experts")
    ] = "two-sided",
    map_file: Annotated[Path | None, typer.Option("--map", help="a map to choose by, instead of scoring now")] = None,
    order: Annotated[
        Literal["layer", "model"],
        typer.Option(
            help="layer: the same share of each layer; model: the least important anywhere (padded, so larger)"
        ),
    ] = "layer",
    heads: Annotated[
        Literal["groups", "queries"],
        typer.Option(help="heads with the keys and values they share, or query heads of each group"),
    ] = "groups",
    repair: Annotated[
        Literal["least-squares", "means"] | None,
        typer.Option(help="if that helps: refit the last projections, or fold the units' means into their biases"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="predict size and accuracy, and save nothing")] = False,
    limit: Annotated[int, typer.Option(min=1, help="at most this many probe examples")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    datasets: Datasets = None,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Save a smaller model without its least important units. Needs no server."""
    from modelshapley.applications.pruning import prune as run
    from modelshapley.applications.selection import least_important, merged

    shares = dict(share_of(text) for text in remove)
    if not dry_run:
        require_new(out)
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, "float32", data, notes.print)
    loaded_task.check(loaded)
    chosen_map = map_of(map_file, loaded, loaded_task, method, list(shares), limit, seed)
    parts = [least_important(chosen_map, loaded.anatomy, kind, share, order, heads) for kind, share in shares.items()]
    units = merged(parts)
    if dry_run:
        _predict(loaded, loaded_task, units, seed)
        return
    settings = {"remove": {kind.value: share for kind, share in shares.items()}, "order": order, "heads": heads}
    info = run(
        loaded, loaded_task, units, out, importance_map=chosen_map, settings=settings, repaired=repair,
        probe_limit=limit, seed=seed, notify=lambda message: notes.print(f"{message} ..."),
    )  # fmt: skip
    _echo_info(out, info)


def recommend(
    model: Model,
    task: TaskName,
    share: Annotated[float | None, typer.Option(help="share of the parameters to remove, such as 0.3")] = None,
    size: Annotated[int | None, typer.Option(help="instead: largest size of the weights file in bytes")] = None,
    milliseconds: Annotated[
        float | None, typer.Option(help="instead: longest time of a pass of 8 examples, measured here")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="methods to compare; repeat for several")] = None,
    out: Annotated[Path | None, typer.Option(help="save the best as a smaller model in this new folder")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most this many probe examples, half to score")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    datasets: Datasets = None,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Find what to remove for a wanted size or time: which importance, which kinds of unit. Needs no server."""
    from modelshapley.applications.pruning import prune as run
    from modelshapley.applications.recommending.recommend import METHODS
    from modelshapley.applications.recommending.recommend import recommend as find

    if out is not None:
        require_new(out)
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, device, "float32", data, notes.print)
    with progress("Measuring candidates") as tell:
        recommended = find(
            loaded, loaded_task, share=share, size=size, milliseconds=milliseconds, methods=method or METHODS,
            limit=limit, seed=seed, on_progress=tell,
        )  # fmt: skip
    _echo_candidates(recommended.report)
    if out is not None:
        settings = {
            "share": share,
            "size": size,
            "milliseconds": milliseconds,
            "candidate": recommended.report.candidates[recommended.report.best].name,
        }
        info = run(
            loaded, loaded_task, recommended.best, out, importance_map=recommended.best_map, settings=settings,
            seed=seed, notify=lambda message: notes.print(f"{message} ..."),
        )  # fmt: skip
        _echo_info(out, info)


def _echo_candidates(report: Recommendation) -> None:
    """Print the candidates, the most accurate first; a star marks the best, a plus those on the frontier."""
    order = sorted(range(len(report.candidates)), key=lambda p: -report.candidates[p].measured.accuracy)
    for place in order:
        candidate = report.candidates[place]
        mark = "*" if place == report.best else "+" if place in report.frontier else " "
        time = "" if candidate.milliseconds is None else f"  {candidate.milliseconds:.3g} ms"
        typer.echo(
            f"{mark} {percent(candidate.measured.accuracy):>7}  loss {candidate.loss:.3f}  "
            f"{percent(candidate.parameters / report.parent_parameters):>7} of the parameters{time}  {candidate.name}"
        )
    if report.parent_milliseconds is not None:
        typer.echo(f"intact: {report.parent_milliseconds:.3g} ms a pass, measured in turns with each candidate's shape")
    typer.echo(
        f"intact {percent(report.candidates[report.best].measured.intact)}; scored on {report.scored} probe examples, "
        f"measured on {report.measured} others"
    )
    typer.echo(report.verdict)


def _predict(loaded: LoadedModel, task: Task[Any], units: Deactivation, seed: int) -> None:
    from modelshapley.api import measure
    from modelshapley.applications.pruning import predict

    prediction: Prediction = predict(loaded, units)
    for reason in prediction.plan.reasons:
        typer.echo(reason)
    size, parent = prediction.size, prediction.parent_size
    typer.echo(
        f"predicted: {size.bytes:,} bytes of {parent.bytes:,} "
        f"({percent(size.parameters / parent.parameters)} of the parameters)"
    )
    _echo_trial(measure(loaded, task, units, seed=seed))


def _echo_info(out: Path, info: DerivedInfo) -> None:
    for reason in info.reasons:
        typer.echo(reason)
    if info.repair is not None:
        kept = "kept" if info.repair.kept else "left out, since it does not help"
        typer.echo(f"repair: loss {info.repair.loss_before:.3f} -> {info.repair.loss_after:.3f} nats, {kept}")
    typer.echo(
        f"{out}: {bytes_as_text(info.bytes)} of {bytes_as_text(info.parent_bytes)} "
        f"({percent(info.parameters / info.parent_parameters)} of the parameters)"
    )
    typer.echo(f"logits differ from those of the parent by at most {info.reload_max_logit_difference:.2g}")
    _echo_trial(info.trial)


def _echo_trial(trial: Comparison) -> None:
    typer.echo(f"accuracy {percent(trial.accuracy)} ({percent_interval(trial.interval)}), n {trial.n}")
    typer.echo(
        f"against the parent's {percent(trial.intact)}: {points(trial.difference)} "
        f"({points_interval(trial.difference_interval)})"
    )
