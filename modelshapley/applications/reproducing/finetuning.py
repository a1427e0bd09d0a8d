"""The paper's targeted fine-tuning (section 5, Table 1): the units that each method finds most important train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelshapley.applications.finetuning import lora
from modelshapley.applications.finetuning.arms import Bench, OnStep, train_all, train_lora, train_units
from modelshapley.applications.finetuning.reporting import Outcome
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.reproduce import INTACT, METHODS, TableRow, notes, table
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, accumulate
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

PAPER_SHARE = 0.1  # of the neurons, the most important, which train (paper, section 5)
CONTROLS = ("lora", "full")


@dataclass(frozen=True)
class Trained:
    """The table. units_trained: of each method, of `units`; trained: parameters by line, the unmodified model first."""

    loaded: LoadedModel
    task: Task[Any]
    settings: FinetuneSettings
    seed: int
    units_trained: int
    units: int
    examples: int
    lines: Sequence[TableRow]
    trained: Sequence[int]


def reproduce_finetuning(
    loaded: LoadedModel,
    task: Task[Any],
    methods: Sequence[str] = METHODS,
    *,
    share: float = PAPER_SHARE,
    settings: FinetuneSettings | None = None,
    controls: Sequence[str] = CONTROLS,
    limit: int = 256,
    answers: int | None = None,
    seed: int = 0,
    on_step: OnStep = lambda what, done, total: None,
) -> Trained:
    """Score neurons on the probe part, train the most important by each method there, measure on the test part.

    All train on the same examples in the same order. controls: `lora`, about as many parameters as LoRA factors of the
    same linear maps (left out without peft), and `full`, all parameters. limit: largest number of examples of either
    part. answers: number of test examples with outcomes. The model is as it was afterwards. Raises what scoring,
    training and evaluation raise.
    """
    if not 0 < share <= 1:
        raise ModelShapleyError(f"The share of neurons to train goes from above 0 to 1, not {share:g}.")
    settings, kind = settings or FinetuneSettings(), UnitKind.NEURON
    scoring = Scoring(loaded, task, [load_method(m) for m in methods], [kind], limit, seed)
    maps = scoring.maps(accumulate(scoring, lambda done, total: on_step("scoring", done, total)))
    test = task.select(loaded, Split.TEST, seed, limit)
    bench = Bench(
        loaded, task, settings, seed, scoring.examples, test, None, on_step, pause=lambda: None, answers=answers
    )
    chosen = {method: importance_map.most(kind, share) for method, importance_map in maps.items()}
    lines, trained = [TableRow(INTACT, bench.measure())], [0]
    outcomes = [train_units(bench, method, units) for method, units in chosen.items()]
    outcomes += _controls(bench, controls, list(chosen.values())[-1], outcomes[-1].trained)
    lines += [TableRow(outcome.name, outcome.measured) for outcome in outcomes]
    trained += [outcome.trained for outcome in outcomes]
    counts = len(next(iter(chosen.values()))), loaded.anatomy.shapes.count(kind)
    return Trained(loaded, task, settings, seed, *counts, len(scoring.examples), lines, trained)


def _controls(bench: Bench, names: Sequence[str], units: Any, parameters: int) -> list[Outcome]:
    found = [train_lora(bench, units, parameters)] if "lora" in names and lora.available() else []
    return found + ([train_all(bench)] if "full" in names else [])


def markdown(result: Trained, command: str) -> str:
    """Format the table, its provenance, and the command that computes it again."""
    settings = result.settings
    share = 100 * result.units_trained / result.units
    return "\n".join(
        [
            f"# {result.task.info.title} with the most important neurons trained",
            "",
            f"`{result.loaded.id}` on `{result.task.info.id}`: {result.units_trained:,} of {result.units:,} neurons "
            f"({share:.3g} %) train, those that each method finds most important on {result.examples} probe examples, "
            f"on these examples: at most {settings.steps} steps of {settings.batch * settings.accumulate}, learning "
            f"rate {settings.rate:g} (LoRA's is {lora.RATE:.3g} times, that of all parameters a third); seed "
            f"{result.seed}. Measured on test examples. After the paper's Table 1.",
            "",
            "    " + command,
            "",
            *table(result.lines, {"trained parameters": [f"{count:,}" for count in result.trained]}),
            "",
            *notes(result.loaded, result.task, result.seed, result.lines),
        ]
    )
