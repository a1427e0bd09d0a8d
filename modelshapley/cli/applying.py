"""Commands that use maps: prune and finetune, which save a model, and recommend, which finds what to remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modelshapley.api import load_model, load_task
from modelshapley.cli.options import Data, Datasets, Device, Model, TaskName, notes, progress
from modelshapley.errors import ModelShapleyError
from modelshapley.formatting import bytes_as_text, percent, percent_interval, points, points_interval
from modelshapley.units import Deactivation, UnitKind

if TYPE_CHECKING:
    from modelshapley.applications.pruning import Prediction
    from modelshapley.contracts import Comparison
    from modelshapley.contracts.applications.derived import DerivedInfo
    from modelshapley.contracts.applications.recommendations import Recommendation
    from modelshapley.maps.importance import ImportanceMap
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


def finetune(
    model: Model,
    task: TaskName,
    train: Annotated[
        list[str], typer.Option(help="what to train: KIND=SHARE of the most important, such as neuron=0.1; repeat")
    ],
    out: Annotated[Path, typer.Option(help="new folder for the trained model")],
    method: Annotated[str, typer.Option(help="method that chooses the units")] = "two-sided",
    map_file: Annotated[Path | None, typer.Option("--map", help="a map to choose by, instead of scoring now")] = None,
    steps: Annotated[int, typer.Option(min=1, help="steps of AdamW")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="probe examples a step")] = 8,
    rate: Annotated[float, typer.Option(help="highest learning rate")] = 3e-4,
    patience: Annotated[
        int, typer.Option(min=0, help="stop after so many measurements without progress; 0: never")
    ] = 0,
    paper: Annotated[bool, typer.Option("--paper", help="the paper's settings instead: rate 3e-5")] = False,
    control: Annotated[list[str] | None, typer.Option(help="random, lora, full; default: all; none: none")] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="save a LoRA adapter for peft instead")] = False,
    checkpoints: Annotated[
        Path | None, typer.Option(help="folder for checkpoints; the same command continues from them")
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="of the weights; what trains has copies in float32")
    ] = "float32",
    limit: Annotated[int, typer.Option(min=1, help="at most this many probe examples")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    datasets: Datasets = None,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Train only the most important units, beside random ones and all parameters. Needs no server.

    Started by `accelerate launch -m modelshapley.cli` or torchrun, several processes divide each batch.
    """
    from modelshapley.applications.finetuning.finetune import finetune as run
    from modelshapley.applications.finetuning.parallel import is_first, own_device
    from modelshapley.applications.finetuning.reporting import describe
    from modelshapley.applications.selection import merged
    from modelshapley.contracts.applications.finetuning import PAPER, FinetuneSettings

    shares = dict(share_of(text) for text in train)
    require_new(out)
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
    loaded_task = load_task(task, datasets, data)
    loaded = load_model(model, own_device(device), dtype, data, notes.print)
    loaded_task.check(loaded)
    chosen_map = map_of(map_file, loaded, loaded_task, method, list(shares), limit, seed)
    units = merged([chosen_map.most(kind, share) for kind, share in shares.items()])
    base = PAPER if paper else FinetuneSettings(rate=rate)
    settings = base.model_copy(update={"steps": steps, "batch": batch, "patience": patience})
    with progress("Training") as tell:
        info = run(
            loaded, loaded_task, units, out, settings=settings, importance_map=chosen_map, limit=limit, seed=seed,
            controls=control and [name for name in control if name != "none"], checkpoints=checkpoints, adapter=adapter,
            on_step=lambda arm, done, total: tell(done, total, f"Training: {arm}"),
        )  # fmt: skip
    if not is_first():
        return
    typer.echo(f"{out}: {percent(info.gradient_share)} of the squared gradient lies on the chosen units")
    typer.echo(f"parent: loss {info.parent_loss:.3f} nats")
    for arm in info.arms:
        typer.echo(describe(arm))


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


def share_of(text: str) -> tuple[UnitKind, float]:
    """Read KIND=SHARE. Raises ModelShapleyError."""
    name, _, value = text.partition("=")
    try:
        kind, share = UnitKind(name), float(value)
    except ValueError:
        kinds = ", ".join(kind.value for kind in UnitKind)
        raise ModelShapleyError(
            f"Give KIND=SHARE, such as neuron=0.25, with a kind of {kinds}; not {text!r}."
        ) from None
    return kind, share


def require_new(folder: Path) -> None:
    """Raise ModelShapleyError if the folder exists."""
    if folder.exists():
        raise ModelShapleyError(f"{str(folder)!r} exists already; choose another folder, or delete it first.")


def map_of(
    file: Path | None,
    loaded: LoadedModel,
    task: Task[Any] | None,
    method: str,
    kinds: list[UnitKind],
    limit: int,
    seed: int,
) -> ImportanceMap:
    """Return the map in the file or, without one, a map scored on the task now; one of the two is given."""
    from modelshapley.applications.baselines.outside import OUTSIDE
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.methods import load_method
    from modelshapley.scoring.job import Scoring, score

    if file is not None:
        return ImportanceMap.load(file)
    assert task is not None
    if method in OUTSIDE:
        return OUTSIDE[method].score(loaded, task, limit, seed)
    scoring = Scoring(loaded, task, [load_method(method)], kinds, limit, seed)
    with progress(f"{loaded.id} on {task.info.id} by {method}") as tell:
        (importance_map,) = score(scoring, tell).values()
    return importance_map


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
