"""What a trial saves by starting at the first touched layer, and that its figures stay exact; in this process.

    python -m benchmarks.live --json

For each demo model: `exact` = over random deactivations of all kinds, starting from kept hidden states gives the
predictions of zeroed weights, and logits within 1e-4 (`largest_difference`). `speedup_median` = time of an
evaluation with hooks that computes every layer, by that of one that starts at the first touched layer; single
units, their layers drawn evenly; both timed in turns, the median over the units. `speedup_last_quarter` = the same
for units of the last quarter of layers. Of SmolLM2 the first questions only: chunks take equally long.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.common import DATA, report
from modelshapley.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.demo import prepare_smollm2
from modelshapley.models import LoadedModel, load
from modelshapley.states import States, logits_of, refusal
from modelshapley.tasks import load_task
from modelshapley.tasks.base import Split, Task
from modelshapley.trials import all_answers
from modelshapley.units import Deactivation, UnitKind
from modelshapley.weights import zeroed_weights

BUDGET = 2 * 2**30
WITHIN = 1e-4
NOTHING = Deactivation()


@dataclass(frozen=True)
class Plan:
    """How much is measured of a model: questions (None: all), deactivations, and single units for the timings."""

    model: str
    task: str
    examples: int | None
    exact: int
    timed: int


PLANS = (Plan(DIGITS_VIT, "digits", None, 100, 60), Plan(SMOLLM2, "world-capitals", 24, 8, 20))


def random_units(loaded: LoadedModel, rng: np.random.Generator, count: int, lowest: int = 0) -> Deactivation:
    """Units of random kinds in layers drawn evenly from `lowest` on; repeats count once."""
    shapes, off = loaded.anatomy.shapes, dict[UnitKind, list[tuple[int, ...]]]()
    for _ in range(count):
        kind = shapes.kinds[rng.integers(len(shapes.kinds))]
        layer = int(rng.integers(lowest, shapes.layers))
        inside = () if kind is UnitKind.LAYER else (int(rng.integers(shapes.counts[kind][layer])),)
        off.setdefault(kind, []).append((layer, *inside))
    return Deactivation.of(off)


def differences(loaded: LoadedModel, task: Task[Any], states: States, offs: Sequence[Deactivation]) -> list[float]:
    """Of each deactivation the largest difference of a logit; infinite where a prediction differs."""
    found = []
    for off in offs:
        with logits_of(loaded) as here:
            kept = all_answers(loaded, task, off, states=states)
        with logits_of(loaded) as there, zeroed_weights(loaded.model, loaded.anatomy, off):
            zeroed = all_answers(loaded, task, NOTHING)
        largest = max(float((one - other).abs().max()) for one, other in zip(here, there, strict=True))
        found.append(largest if (kept == zeroed).all() else float("inf"))
    return found


def speedup(loaded: LoadedModel, task: Task[Any], states: States, offs: Sequence[Deactivation]) -> float:
    ratios = []
    for off in offs:
        times = []
        for known in (None, states):
            started = time.perf_counter()
            all_answers(loaded, task, off, states=known)
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def measure(catalog: Catalog, plan: Plan) -> dict[str, Any]:
    loaded, task, rng = load(catalog.folder(plan.model)), load_task(plan.task), np.random.default_rng(0)
    chosen = task.select(loaded, Split.TEST, 0, plan.examples)
    task.select = lambda *_, **__: chosen  # type: ignore[method-assign]
    started = time.perf_counter()
    refused = refusal(loaded, task, chosen)
    tried = time.perf_counter() - started
    states = States(len(chosen), BUDGET, refused)
    all_answers(loaded, task, NOTHING, states=states)
    layers = loaded.anatomy.shapes.layers
    found = differences(
        loaded, task, states, [random_units(loaded, rng, int(rng.integers(1, 9))) for _ in range(plan.exact)]
    )
    evenly = [random_units(loaded, rng, 1) for _ in range(plan.timed)]
    late = [random_units(loaded, rng, 1, layers - layers // 4) for _ in range(plan.timed // 2)]
    return {
        "exact": max(found) <= WITHIN and states.refused is None,
        "deactivations": len(found),
        "largest_difference": max(found),
        "speedup_median": round(speedup(loaded, task, states, evenly), 2),
        "speedup_last_quarter": round(speedup(loaded, task, states, late), 2),
        "examples": len(chosen),
        "states_mb": round(states.bytes / 1e6, 1),
        "trying_out_s": round(tried, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.parse_args()
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    with torch.inference_mode():
        report({plan.model: measure(catalog, plan) for plan in PLANS})


if __name__ == "__main__":
    main()
