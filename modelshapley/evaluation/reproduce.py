"""The paper's first experiment (section 5, Table 1): switching off the least important neurons by each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
import transformers
from scipy.stats import binomtest, ttest_rel

from modelshapley.evaluation.accuracy import Evaluation, evaluate
from modelshapley.evaluation.intervals import Outcomes, mean_half_width, mean_interval
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, accumulate
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation, UnitKind, extreme_units

METHODS = ("random", "gradient", "gradient-trace", "model-shapley-paper", "model-shapley", "two-sided")
BASELINE_METHOD = "random"
INTACT = "unmodified"
PAPER_FRACTIONS = {"text": 0.05, "image": 0.30}  # of the neurons, switched off (paper, section 5)
Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TableRow:
    """Measurements after what one method chose was switched off, trained, or the like."""

    method: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Reproduction:
    """The table. units_off: number switched off, of `units`; scored_examples: probe examples; lines: intact first."""

    loaded: LoadedModel
    task: Task[Any]
    seed: int
    fraction: float
    units_off: int
    units: int
    scored_examples: int
    lines: Sequence[TableRow]

    @property
    def tested_examples(self) -> int:
        """Number of test examples with losses."""
        return len(self.lines[0].evaluation.losses)

    @property
    def answered_examples(self) -> int:
        """Number of test examples with outcomes."""
        return len(self.lines[0].evaluation.outcomes)


def reproduce_deactivation(
    loaded: LoadedModel,
    task: Task[Any],
    methods: Sequence[str] = METHODS,
    *,
    fraction: float | None = None,
    limit: int = 256,
    answers: int | None = None,
    seed: int = 0,
    on_step: Step = lambda what, done, total: None,
) -> Reproduction:
    """Score neurons on the probe part, switch the least important off, measure on the test part.

    fraction: share of the neurons; by default the paper's for the modality. limit: largest number of examples of either
    part. answers: number of test examples with outcomes; losses are taken on all. Raises what scoring and evaluation
    raise.
    """
    fraction = PAPER_FRACTIONS[task.info.modality] if fraction is None else fraction
    kind = UnitKind.NEURON
    scoring = Scoring(loaded, task, [load_method(m) for m in methods], [kind], limit, seed)
    maps = scoring.maps(accumulate(scoring, lambda done, total: on_step("scoring", done, total)))
    examples = task.select(loaded, Split.TEST, seed, limit)
    total = len(examples) + (len(examples) if answers is None else min(answers, len(examples)))
    states = {INTACT: Deactivation()} | {
        method: extreme_units(importance_map.scores[kind], kind, "least", fraction)
        for method, importance_map in maps.items()
    }
    lines = [
        TableRow(name, evaluate(loaded, task, off, examples, answers, _progress_of(on_step, name, total)))
        for name, off in states.items()
    ]
    units = loaded.anatomy.shapes.count(kind)
    return Reproduction(loaded, task, seed, fraction, len(states[methods[0]]), units, len(scoring.examples), lines)


def _progress_of(on_step: Step, name: str, total: int) -> Callable[[int], None]:
    return lambda done: on_step(name, done, total)


# -- the table as Markdown ----------------------------------------------------------------------


def markdown(result: Reproduction, command: str) -> str:
    """Format the table, its provenance, and the command that computes it again."""
    shapes = f"{result.units_off:,} of {result.units:,} neurons ({100 * result.fraction:g} %)"
    return "\n".join(
        [
            f"# {result.task.info.title} with the least important neurons off",
            "",
            f"`{result.loaded.id}` on `{result.task.info.id}`: {shapes} switched off, those that each method finds "
            f"least important on {result.scored_examples} probe examples; measured on the first "
            f"{result.tested_examples} test examples, seed {result.seed}. After the paper's Table 1.",
            "",
            "    " + command,
            "",
            *table(result.lines),
            "",
            *notes(result.loaded, result.task, result.seed, result.lines),
        ]
    )


def table(lines: Sequence[TableRow], extra: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Format measurements as a Markdown table. lines: the unmodified model first. extra: cells of further columns."""
    intact, extra = lines[0].evaluation, extra or {}
    baseline = next((line.evaluation for line in lines if line.method == BASELINE_METHOD), None)
    answered, tested, forced = len(intact.outcomes), len(intact.losses), intact.token_shares is not None
    headers = ["method", *extra]
    headers += [f"accuracy, % (n {answered})", "p"] if answered else []
    headers += [f"tokens right, % (n {tested})", "p"] if forced else []
    headers += [f"loss, nats (n {tested})", "against unmodified", "p", f"p against {BASELINE_METHOD}"]
    rows = [_row(line, intact, baseline, bool(answered), forced) for line in lines]
    rows = [
        [row[0], *cells, *row[1:]]
        for row, cells in zip(rows, zip(*extra.values(), strict=True) if extra else [()] * len(rows), strict=True)
    ]
    return [
        "| " + " | ".join(headers) + " |",
        "|" + "---|" * len(headers),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def notes(loaded: LoadedModel, task: Task[Any], seed: int, lines: Sequence[TableRow]) -> list[str]:
    """Say what the columns of :func:`table` mean, and with what it was computed."""
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    answered, forced = len(lines[0].evaluation.outcomes), lines[0].evaluation.token_shares is not None
    answer = "Accuracy: what the task counts as right. "
    tokens = (
        "Tokens right: share of the reference answer's tokens that were the likeliest at their place, the answer "
        "so far being given. "
    )
    return [
        f"{answer if answered else ''}{tokens if forced else ''}Loss: of the reference, mean of its "
        "tokens; the lower the better. In brackets and behind ± 95 % intervals: Wilson's for right and wrong, "
        "Student's for others. p: two-sided and paired, on the same examples, against the unmodified model where "
        "nothing else is said; exact McNemar for right and wrong, Student's for others; not corrected for the "
        "number of tests.",
        "",
        f"Revision `{loaded.revision[:12]}`, task `{task.fingerprint(seed)[:12]}`, "
        f"{loaded.dtype} on {loaded.places}, {versions}, {datetime.now(UTC).date().isoformat()}.",
        "",
    ]


def _row(line: TableRow, intact: Evaluation, baseline: Evaluation | None, has_answers: bool, forced: bool) -> list[str]:
    evaluation, is_intact = line.evaluation, line.method == INTACT
    cells = [f"`{line.method}`" if not is_intact else line.method]
    if has_answers:
        cells += [
            _percent(evaluation.outcomes),
            "" if is_intact else _p(paired_p(evaluation.outcomes, intact.outcomes)),
        ]
    if forced:
        assert evaluation.token_shares is not None
        assert intact.token_shares is not None
        cells += [
            _percent(evaluation.token_shares),
            "" if is_intact else _p(paired_p(evaluation.token_shares, intact.token_shares)),
        ]
    cells.append(f"{evaluation.losses.mean():.3f} ± {mean_half_width(evaluation.losses):.3f}")
    if is_intact:
        return [*cells, "", "", ""]
    difference = evaluation.losses - intact.losses
    cells += [
        f"{difference.mean():+.3f} ± {mean_half_width(difference):.3f}",
        _p(paired_p(evaluation.losses, intact.losses)),
    ]
    has_baseline = baseline is not None and line.method != BASELINE_METHOD
    return [*cells, _p(paired_p(evaluation.losses, baseline.losses)) if has_baseline and baseline is not None else ""]


def paired_p(now: Outcomes, before: Outcomes) -> float:
    """Return the two-sided p for no change on the same examples: exact McNemar for right and wrong, or Student's."""
    if now.dtype == np.bool_ and before.dtype == np.bool_:
        gained, lost = int((now & ~before).sum()), int((~now & before).sum())
        return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    if np.array_equal(now, before):
        return 1.0
    return float(ttest_rel(now, before).pvalue)


def _percent(values: Outcomes) -> str:
    low, high = mean_interval(values)
    return f"{100 * values.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
