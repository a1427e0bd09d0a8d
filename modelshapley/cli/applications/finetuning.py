"""Fine-tuning of chosen units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from modelshapley.api import load_model, load_task
from modelshapley.cli.choosing import map_of, require_new, share_of
from modelshapley.cli.options import Data, Datasets, Device, Model, TaskName, notes, progress
from modelshapley.formatting import percent

if TYPE_CHECKING:
    from modelshapley.contracts.applications.finetuning import FinetunedInfo


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

    Started by torchrun or `accelerate launch --multi_gpu`, several processes divide each batch.
    """
    from modelshapley.applications.finetuning.finetune import finetune as run
    from modelshapley.applications.finetuning.parallel import is_first, own_device
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
    if is_first():
        _echo_arms(out, info)


def _echo_arms(out: Path, info: FinetunedInfo) -> None:
    """Print the predictor, and what each way of training came to."""
    from modelshapley.applications.finetuning.reporting import describe

    typer.echo(f"{out}: {percent(info.gradient_share)} of the squared gradient lies on the chosen units")
    typer.echo(f"parent: loss {info.parent_loss:.3f} nats")
    for arm in info.arms:
        typer.echo(describe(arm))
