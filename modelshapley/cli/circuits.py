"""The command `circuit`: how faithful the highest-scored units are on pairs of prompts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelshapley.api import load_model, load_task
from modelshapley.cli.choosing import map_of
from modelshapley.cli.options import Data, Datasets, Device, Model, TaskName, notes
from modelshapley.cli.units import treatment_of
from modelshapley.errors import ModelShapleyError
from modelshapley.units import Treatment, UnitKind

if TYPE_CHECKING:
    from modelshapley.evaluation.circuits import CircuitCurve


def circuit(
    model: Model,
    task: TaskName,
    map_file: Annotated[Path | None, typer.Option("--map", help="a map that ranks the units")] = None,
    method: Annotated[str, typer.Option(help="method that ranks them, without --map")] = "two-sided",
    units: Annotated[list[UnitKind] | None, typer.Option(help="kinds of unit; repeat for several")] = None,
    how: Annotated[
        str, typer.Option(help="what is done to all other units: resample, off or scale=FACTOR")
    ] = "resample",
    limit: Annotated[int | None, typer.Option(min=1, help="at most this many test examples")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    datasets: Datasets = None,
    device: Device = "cpu",
    data: Data = Path(".data"),
) -> None:
    """Measure how faithful circuits of the highest-scored units are: CPR and CMD of MIB's circuit track."""
    from modelshapley.evaluation.circuits import circuit_curve

    kinds = units or [UnitKind.HEAD, UnitKind.NEURON]
    treatment, loaded_task = treatment_of(how, pairs=True), load_task(task, datasets, data)
    loaded_task.info.check_treatment(Treatment("resample"))  # corrupted prompts are 0 of faithfulness, whatever `how`
    loaded = load_model(model, device, data=data, notify=notes.print)
    loaded_task.check(loaded)
    scores = map_of(map_file, loaded, loaded_task, method, kinds, 256, seed).scores
    missing = [kind.value for kind in kinds if kind not in scores]
    if missing:
        raise ModelShapleyError(f"The map has no scores of {missing[0]}s; it has: {', '.join(scores)}.")
    curve = circuit_curve(loaded, loaded_task, {kind: scores[kind] for kind in kinds}, limit, seed, treatment=treatment)
    if as_json:
        typer.echo(json.dumps(asdict(curve) | {"cpr": curve.cpr, "cmd": curve.cmd}))
    else:
        _print_curve(curve)


def _print_curve(curve: CircuitCurve) -> None:
    typer.echo(f"whole model {curve.whole:.3f}, corrupted prompts {curve.corrupted:.3f}; n = {curve.examples}")
    for point in curve.points:
        typer.echo(f"{100 * point.share:5.1f} % ({point.units:,} units): faithfulness {point.faithfulness:.3f}")
    typer.echo(f"CPR {curve.cpr:.3f} (higher is better), CMD {curve.cmd:.3f} (0 is best)")
