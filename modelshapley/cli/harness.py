"""`modelshapley lm-eval`: the table of lm-evaluation-harness with some units off. Needs no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from modelshapley.api import load_model, load_task
from modelshapley.cli.options import Data, Datasets, Device, Model, Precision, notes
from modelshapley.cli.units import ByMap, ByMethod, ByTask, How, Off, treatment_of, units_of
from modelshapley.errors import ModelShapleyError


def lm_eval(
    model: Model,
    tasks: Annotated[str, typer.Option(help="tasks of the harness, or its YAML files, separated by commas")],
    off: Off = None,
    how: How = "off",
    task: ByTask = None,
    map_file: ByMap = None,
    method: ByMethod = "two-sided",
    limit: Annotated[int | None, typer.Option(min=1, help="at most this many examples of each task")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, help="worked examples in front; default: as each task says")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 1,
    include_path: Annotated[Path | None, typer.Option(help="folder of more YAML files of the harness")] = None,
    out: Annotated[Path | None, typer.Option(help="also write all results, each answer included, as JSON")] = None,
    datasets: Datasets = None,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """Evaluate a language model by lm-evaluation-harness, with some units off. Needs no server."""
    from modelshapley.evaluation.activations import activations_of
    from modelshapley.evaluation.harness import evaluate, require_harness, table

    require_harness()
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise ModelShapleyError("Name at least one task: --tasks arc_easy, or --tasks my-task.yaml.")
    for folder in (include_path, None if out is None else out.absolute().parent):
        if folder is not None and not folder.is_dir():
            raise ModelShapleyError(f"There is no folder {str(folder)!r}.")
    treatment = treatment_of(how)
    by_task = load_task(task, datasets, data) if task is not None else None
    loaded = load_model(model, device, dtype, data, notes.print)
    if by_task is not None:
        by_task.check(loaded)
    units = units_of(off or [], loaded, by_task, map_file, method, treatment)
    needed = by_task is not None and treatment.how != "scale"
    activations = activations_of(loaded, by_task) if needed and by_task is not None else None
    results = evaluate(loaded, names, units, activations, limit, num_fewshot, batch_size, include_path)
    typer.echo(f"{model}, {units.describe()} {treatment.describe()}" if len(units) else f"{model}, intact")
    typer.echo(table(results))
    if out is not None:
        out.write_text(json.dumps(_plain(results), indent=1, default=str) + "\n")


def _plain(results: dict[str, Any]) -> dict[str, Any]:
    """Return what the harness stores of its results: all but the machine that it ran on."""
    return {name: results[name] for name in ("results", "groups", "versions", "n-shot", "samples") if name in results}
