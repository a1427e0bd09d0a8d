"""Speed of trials that start at the first touched layer, their exactness, and their latency.

    python -m benchmarks.live --json [--datasets FOLDER]

For each demo model: `exact` = over random deactivations of all kinds, starting from kept hidden states gives the
predictions of zeroed weights, and logits within 1e-4 (`largest_difference`). `speedup_median` = time of an
evaluation with hooks that computes every layer, by that of one that starts at the first touched layer; single
units, their layers drawn evenly; both timed in turns, the median over the units. `speedup_last_quarter` = the same
for units of the last quarter of layers. Both ways are ours, and share prompts and compute logits only where they
count; `..._plain` = the same trials against a plain loop instead (weights zeroed, each choice with its prompt a
sequence of its own, in padded batches, all logits, tokenised beforehand). Of SmolLM2 the first questions only:
chunks take equally long.

`choice`: SmolLM2 on BIG-Bench-Hard's date_understanding (six choices, long prompts), every layer computed.
`exact_choice` = the log-likelihoods of all choices are those of the plain loop within 1e-4, and the predictions
are the same, intact and with units off. `speedup_choice` = time of the plain loop, by that of ours, which computes
a prompt once; the plain loop here computes logits only from the first position on that counts in a batch.
`speedup_choice_all_logits` = the same with all logits.

`service`: through the real API, Redis and one worker (benchmarks.support.live_service). `busy`: the same while that
worker does long work (benchmarks.support.busy_service). `--only` measures one part.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.busy_service import measure_busy_service
from benchmarks.support.common import DATA, report
from benchmarks.support.live_service import measure_service
from benchmarks.support.plain import continuations_of, plain_answers, plain_log_likelihoods
from modelshapley import load_task
from modelshapley.contracts.task_files.file import parse
from modelshapley.evaluation.hidden_states import HiddenStateCache, logits_of, refusal
from modelshapley.evaluation.trials import all_answers
from modelshapley.interventions.gates import treated
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.models.passes.prefix_tree import log_likelihoods
from modelshapley.tasks import TaskCatalog
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.batching import length_batches
from modelshapley.tasks.kinds.multiple_choice import MultipleChoice
from modelshapley.units import Deactivation, UnitKind

STATES_BUDGET = 2 * 2**30
TOLERANCE = 1e-4
NOTHING = Deactivation()


@dataclass(frozen=True)
class Plan:
    """Size of the measurements of a model: questions (None: all), deactivations, and single units for the timings."""

    model: str
    task: str
    examples: int | None
    exact: int
    timed: int


PLANS = (Plan(DIGITS_VIT, "digits", None, 100, 60), Plan(SMOLLM2, "world-capitals", 24, 20, 24))
DATES = {
    "kind": "multiple-choice",
    "name": "dates",
    "source": {"path": "bbh/date_understanding.json", "field": "examples"},
    "probe": {"split": "all", "share": 0.4},
    "test": {"split": "all", "share": 0.6},
    "prompt": "{input}\nAnswer:",
    "choices": ["(A)", "(B)", "(C)", "(D)", "(E)", "(F)"],
    "key": "target",
}
QUESTIONS = 8


def random_units(loaded: LoadedModel, rng: np.random.Generator, count: int, lowest: int = 0) -> Deactivation:
    """Choose units of random kinds in layers sampled evenly from `lowest` on; repeats count once."""
    shapes, off = loaded.anatomy.shapes, dict[UnitKind, list[tuple[int, ...]]]()
    for _ in range(count):
        kind = shapes.kinds[rng.integers(len(shapes.kinds))]
        layer = int(rng.integers(lowest, shapes.layers))
        inside = () if kind is UnitKind.LAYER else (int(rng.integers(shapes.counts[kind][layer])),)
        off.setdefault(kind, []).append((layer, *inside))
    return Deactivation.of(off)


def differences(
    loaded: LoadedModel, task: Task[Any], states: HiddenStateCache, offs: Sequence[Deactivation]
) -> list[float]:
    """Return the largest difference of a logit for each deactivation; infinite if a prediction differs."""
    results = []
    for off in offs:
        with logits_of(loaded) as ours:
            cached = all_answers(loaded, task, off, states=states)
        with logits_of(loaded) as reference, zeroed_weights(loaded.model, loaded.anatomy, off):
            zeroed = all_answers(loaded, task, NOTHING)
        largest = max(float((one - other).abs().max()) for one, other in zip(ours, reference, strict=True))
        results.append(largest if (cached == zeroed).all() else float("inf"))
    return results


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def speedups(
    loaded: LoadedModel,
    task: Task[Any],
    states: HiddenStateCache,
    offs: Sequence[Deactivation],
    plain: float | None,
) -> tuple[float, float | None]:
    """Return median speed-ups over `offs`: against our own full evaluation, and against a plain loop of `plain`
    seconds.
    """
    ours, theirs = [], []
    for off in offs:
        full, cached = (seconds(partial(all_answers, loaded, task, off, states=s)) for s in (None, states))
        ours.append(full / cached)
        theirs.append(plain / cached if plain else 0.0)
    return round(statistics.median(ours), 2), round(statistics.median(theirs), 2) if plain else None


def plain_seconds(loaded: LoadedModel, task: Task[Any], chosen: Sequence[Any], off: Deactivation) -> float:
    """Measure the plain loop, median of three."""
    rows, right = continuations_of(loaded, task, chosen)
    with zeroed_weights(loaded.model, loaded.anatomy, off):
        answers = plain_answers(loaded, rows, right, task.pass_tokens)
        assert (answers == all_answers(loaded, task, NOTHING)).all(), "the plain loop answers differently"
        return statistics.median(
            seconds(lambda: plain_answers(loaded, rows, right, task.pass_tokens)) for _ in range(3)
        )


def measure(loaded: LoadedModel, plan: Plan) -> dict[str, Any]:
    task, rng = load_task(plan.task), np.random.default_rng(0)
    chosen = task.select(loaded, Split.TEST, 0, plan.examples)
    task.select = lambda *_, **__: chosen  # type: ignore[method-assign]
    started = time.perf_counter()
    refused = refusal(loaded, task, chosen)
    trying_s = time.perf_counter() - started
    states = HiddenStateCache(len(chosen), STATES_BUDGET, refused)
    all_answers(loaded, task, NOTHING, states=states)
    layers = loaded.anatomy.shapes.layers
    largest_differences = differences(
        loaded, task, states, [random_units(loaded, rng, int(rng.integers(1, 9))) for _ in range(plan.exact)]
    )
    rng = np.random.default_rng(1)  # separate, so that the sampled layers do not depend on earlier draws
    evenly = [random_units(loaded, rng, 1) for _ in range(plan.timed)]
    late = [random_units(loaded, rng, 1, layers - layers // 4) for _ in range(plan.timed // 2)]
    plain = plain_seconds(loaded, task, chosen, late[0]) if loaded.anatomy.modality == "text" else None
    median, median_plain = speedups(loaded, task, states, evenly, plain)
    quarter, quarter_plain = speedups(loaded, task, states, late, plain)
    return {
        "exact": max(largest_differences) <= TOLERANCE and states.refused is None,
        "deactivations": len(largest_differences),
        "largest_difference": max(largest_differences),
        "speedup_median": median,
        "speedup_last_quarter": quarter,
        "speedup_median_plain": median_plain,
        "speedup_last_quarter_plain": quarter_plain,
        "examples": len(chosen),
        "states_mb": round(states.bytes / 1e6, 1),
        "trying_out_s": round(trying_s, 2),
    }


def measure_choice(loaded: LoadedModel, datasets: Path) -> dict[str, Any]:
    task = TaskCatalog([datasets]).open(parse(DATES, "dates"))
    assert isinstance(task, MultipleChoice)
    chosen = task.select(loaded, Split.TEST, 0, QUESTIONS)
    task.select = lambda *_, **__: chosen  # type: ignore[method-assign]
    rows, right = continuations_of(loaded, task, chosen)
    off = random_units(loaded, np.random.default_rng(1), 20)
    largest, same = 0.0, True
    for units in (NOTHING, off):
        with zeroed_weights(loaded.model, loaded.anatomy, units):
            expected = plain_log_likelihoods(loaded, rows, task.pass_tokens, all_logits=False)
        with treated(loaded.model, loaded.anatomy, units):
            for places in length_batches([task.size(loaded, e) for e in chosen], len(chosen), task.pass_tokens):
                ours = log_likelihoods(loaded, [rows[place] for place in places]).cpu()
                largest = max(largest, float((ours - torch.cat([expected[place] for place in places])).abs().max()))
        predicted = [int(one.argmax()) == answer for one, answer in zip(expected, right, strict=True)]
        same = same and bool((all_answers(loaded, task, units) == np.array(predicted)).all())

    def plain_loop_s(all_logits: bool) -> float:
        return seconds(lambda: plain_log_likelihoods(loaded, rows, task.pass_tokens, all_logits))

    with treated(loaded.model, loaded.anatomy, off):
        times = [(seconds(lambda: all_answers(loaded, task, NOTHING)), plain_loop_s(False)) for _ in range(2)]
        all_logits_s = plain_loop_s(True)
    ours, plain = np.median(times, axis=0).tolist()
    return {
        "exact_choice": same and largest <= TOLERANCE,
        "largest_difference": largest,
        "speedup_choice": round(plain / ours, 2),
        "speedup_choice_all_logits": round(all_logits_s / ours, 2),
        "questions": len(chosen),
        "shared_tokens": sum(task.size(loaded, e) for e in chosen),
        "plain_tokens": sum(len(continuation.tokens) for row in rows for continuation in row),
        "ours_s": round(ours, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--datasets", type=Path, default=Path("tests/data"), help="folder that holds bbh")
    parser.add_argument("--only", choices=["engine", "choice", "service", "busy"], help="default: all")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--trials", type=int, default=100, help="for `busy`; half as many of SmolLM2")
    options = parser.parse_args()
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    wanted = [options.only] if options.only else ["service", "busy", "engine", "choice"]
    results: dict[str, Any] = {}
    with torch.inference_mode():
        if "service" in wanted:
            results["service"] = measure_service(options.clients, options.seconds)
        if "busy" in wanted:
            results["busy"] = measure_busy_service(options.trials)
        if "engine" in wanted:
            results |= {plan.model: measure(load(catalog.folder(plan.model)), plan) for plan in PLANS}
        if "choice" in wanted:
            results["choice"] = measure_choice(load(catalog.folder(SMOLLM2)), options.datasets)
    report(results)


if __name__ == "__main__":
    main()
