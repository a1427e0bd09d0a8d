"""The paper's first experiment (section 5, Table 1): the least important neurons off, by each method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
import transformers
from scipy.stats import binomtest, ttest_rel

from modelshapley.evaluation.accuracy import Evaluation, evaluate
from modelshapley.evaluation.intervals import Outcomes, mean_interval, mean_reach
from modelshapley.methods import load_method
from modelshapley.models.loading import LoadedModel
from modelshapley.scoring.job import Scoring, add_up
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation, UnitKind, extreme_units

METHODS = ("random", "gradient", "gradient-trace", "model-shapley-paper", "model-shapley", "two-sided")
BASELINE = "random"
INTACT = "unmodified"
SHARES = {"text": 0.05, "image": 0.30}  # of the neurons, switched off (paper, section 5)
Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Line:
    """The model with the least important units by one method off."""

    method: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Reproduction:
    """What the table says. units_off: of `units`; scored: probe examples; lines: the intact model first."""

    loaded: LoadedModel
    task: Task[Any]
    seed: int
    fraction: float
    units_off: int
    units: int
    scored: int
    lines: Sequence[Line]

    @property
    def tested(self) -> int:
        """Test examples whose losses were taken."""
        return len(self.lines[0].evaluation.losses)

    @property
    def answered(self) -> int:
        """Test examples that were answered as the task says."""
        return len(self.lines[0].evaluation.outcomes)


def deactivation(
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

    fraction: of the neurons; the paper's for the kind of model by default. limit: examples of either part at most.
    answers: how many test examples are answered as the task says; losses are taken on all. Raises what scoring and
    evaluating raise.
    """
    fraction = SHARES[task.info.modality] if fraction is None else fraction
    kind = UnitKind.NEURON
    scoring = Scoring(loaded, task, [load_method(m) for m in methods], [kind], limit, seed)
    maps = scoring.maps(add_up(scoring, lambda done, total: on_step("scoring", done, total)))
    examples = task.select(loaded, Split.TEST, seed, limit)
    total = len(examples) + (len(examples) if answers is None else min(answers, len(examples)))
    states = {INTACT: Deactivation()} | {
        method: extreme_units(found.scores[kind], kind, "least", fraction) for method, found in maps.items()
    }
    lines = [
        Line(name, evaluate(loaded, task, off, examples, answers, _told(on_step, name, total)))
        for name, off in states.items()
    ]
    units = loaded.anatomy.shapes.count(kind)
    return Reproduction(loaded, task, seed, fraction, len(states[methods[0]]), units, len(scoring.examples), lines)


def _told(on_step: Step, name: str, total: int) -> Callable[[int], None]:
    return lambda done: on_step(name, done, total)


# -- in words -----------------------------------------------------------------------------------


def markdown(found: Reproduction, command: str) -> str:
    """The table, what it was computed from, and the command that computes it again."""
    shapes = f"{found.units_off:,} of {found.units:,} neurons ({100 * found.fraction:g} %)"
    intact = found.lines[0].evaluation
    baseline = next((line.evaluation for line in found.lines if line.method == BASELINE), None)
    forced = intact.token_shares is not None
    heads = ["method"]
    heads += [f"accuracy, % (n {found.answered})", "p"] if found.answered else []
    heads += [f"tokens right, % (n {found.tested})", "p"] if forced else []
    heads += [f"loss, nats (n {found.tested})", "against unmodified", "p", f"p against {BASELINE}"]
    rows = [_row(line, intact, baseline, bool(found.answered), forced) for line in found.lines]
    return "\n".join(
        [
            f"# {found.task.info.title} with the least important neurons off",
            "",
            f"`{found.loaded.id}` on `{found.task.info.id}`: {shapes} switched off, those that each method finds "
            f"least important on {found.scored} probe examples; measured on the first {found.tested} test "
            f"examples, seed {found.seed}. After the paper's Table 1.",
            "",
            "    " + command,
            "",
            "| " + " | ".join(heads) + " |",
            "|" + "---|" * len(heads),
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            *_notes(found, forced),
        ]
    )


def _notes(found: Reproduction, forced: bool) -> list[str]:
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    answer = "Accuracy: what the task counts as right. "
    tokens = (
        "Tokens right: share of the reference answer's tokens that were the likeliest at their place, the answer "
        "so far being given. "
    )
    return [
        f"{answer if found.answered else ''}{tokens if forced else ''}Loss: of the reference, mean of its "
        "tokens; the lower the better. In brackets and behind ± 95 % intervals: Wilson's for right and wrong, "
        "Student's for others. p: two-sided and paired, on the same examples, against the unmodified model where "
        "nothing else is said; exact McNemar for right and wrong, Student's for others; not corrected for the "
        "number of tests.",
        "",
        f"Revision `{found.loaded.revision[:12]}`, task `{found.task.fingerprint(found.seed)[:12]}`, "
        f"{found.loaded.dtype} on {found.loaded.places}, {versions}, {datetime.now(UTC).date().isoformat()}.",
        "",
    ]


def _row(line: Line, intact: Evaluation, baseline: Evaluation | None, answered: bool, forced: bool) -> list[str]:
    now, first = line.evaluation, line.method == INTACT
    cells = [f"`{line.method}`" if not first else line.method]
    if answered:
        cells += [_percent(now.outcomes), "" if first else _p(paired_p(now.outcomes, intact.outcomes))]
    if forced:
        assert now.token_shares is not None
        assert intact.token_shares is not None
        cells += [_percent(now.token_shares), "" if first else _p(paired_p(now.token_shares, intact.token_shares))]
    cells.append(f"{now.losses.mean():.3f} ± {mean_reach(now.losses):.3f}")
    if first:
        return [*cells, "", "", ""]
    change = now.losses - intact.losses
    cells += [f"{change.mean():+.3f} ± {mean_reach(change):.3f}", _p(paired_p(now.losses, intact.losses))]
    against = baseline is not None and line.method != BASELINE
    return [*cells, _p(paired_p(now.losses, baseline.losses)) if against and baseline is not None else ""]


def paired_p(now: Outcomes, before: Outcomes) -> float:
    """Two-sided p that nothing changed, on the same examples: exact McNemar for right and wrong, or Student's."""
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
