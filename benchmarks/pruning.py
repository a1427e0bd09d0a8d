"""Smaller models: what `recommend` finds beside single methods, at equal numbers of parameters, in one run.

    python -m benchmarks.pruning --json [--model digits-vit] [--seeds 3] [--shares 0.1 0.2 0.3 0.4] [--data FOLDER]

For each model, share of the parameters to remove, and seed (which splits probe and test examples anew), on all test
examples: accuracy of `ours` (applications.recommend) and of its peers, none of which has seen those examples:
`two-sided` (neurons, heads and layers by score a parameter), `magnitude`, `wanda`, `taylor` (mean |dLoss/dgate|, the
first-order score), each with neurons alone, else heads, else layers, whichever can reach the size first, `shortgpt`
(layers by block influence) and `random` (as magnitude, in random order). A peer that cannot reach the size is null.

`ours_minus_best_peer`: accuracy of ours minus that of the peer that is best on the test examples, in hindsight, paired
over the examples of all seeds, with its 95 % interval. `reload_max_logit_difference` and `bytes_prediction_error`: of
saving ours with seed 0. `forward_ratio_25`: CPU-seconds of a forward pass without 25 % of the neurons of each layer,
against the parent, medians of interleaved passes. ours is measured as it is saved, in masked form.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.common import DATA, report
from modelshapley import load_model, load_task
from modelshapley.applications.block_influence import block_influence
from modelshapley.applications.candidates import Budget, Chooser, by_value
from modelshapley.applications.plans import plan_pruning
from modelshapley.applications.proof import without_units
from modelshapley.applications.pruning import predict, prune, whole_size
from modelshapley.applications.recommend import recommend
from modelshapley.applications.selection import least_important
from modelshapley.applications.surgery import smaller_model
from modelshapley.evaluation.intervals import Outcomes, paired_difference
from modelshapley.evaluation.trials import all_answers
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Task
from modelshapley.units import DEFAULT_KINDS, Deactivation, UnitKind

TASKS = {DIGITS_VIT: "digits", SMOLLM2: "world-capitals"}
PEERS = {"magnitude": "magnitude", "wanda": "wanda", "taylor": "mean-abs", "random": "random"}
SIMPLE = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER)
LIMIT, TOKENS, PASSES = 256, 64, 15


def peers_of(loaded: LoadedModel, task: Task[Any], seed: int) -> dict[str, Chooser]:
    kinds = [kind for kind in DEFAULT_KINDS if kind in loaded.anatomy.shapes.kinds]
    methods = [load_method(method) for method in ("two-sided", *PEERS.values())]
    maps = score(Scoring(loaded, task, methods, kinds, LIMIT, seed))
    choosers = {"two-sided": Chooser(maps["two-sided"])}
    choosers |= {name: Chooser(maps[method]) for name, method in PEERS.items()}
    return choosers | {"shortgpt": Chooser(block_influence(loaded, task, LIMIT, seed))}


def units_of(budget: Budget, name: str, chooser: Chooser) -> Deactivation | None:
    """Units of a peer at the wanted size; None where it cannot reach it."""
    if name == "two-sided":
        shares = by_value(budget, chooser)
    else:
        kinds = [kind for kind in SIMPLE if kind in chooser.map_of(kind).scores and budget.possible(kind)]
        ways = (budget.divided({kind: 1.0}) for kind in kinds)
        shares = next((way for way in ways if way is not None), None)
    return None if shares is None else chooser.choose(budget.loaded, shares)


def outcomes_of(loaded: LoadedModel, task: Task[Any], units: Deactivation, seed: int) -> Outcomes:
    with without_units(loaded, plan_pruning(loaded, units), units):
        return all_answers(loaded, task, Deactivation(), seed)


def one_seed(
    loaded: LoadedModel, task: Task[Any], share: float, seed: int, choosers: dict[str, Chooser]
) -> tuple[dict[str, Outcomes], Deactivation]:
    whole = whole_size(loaded)
    budget = Budget(loaded, whole, int((1 - share) * whole.parameters))
    found = recommend(loaded, task, share=share, limit=LIMIT, seed=seed)
    outcomes = {"ours": outcomes_of(loaded, task, found.best, seed)}
    for name, chooser in choosers.items():
        units = units_of(budget, name, chooser)
        if units is not None:
            outcomes[name] = outcomes_of(loaded, task, units, seed)
    return outcomes, found.best


def compare(by_seed: Sequence[dict[str, Outcomes]]) -> dict[str, Any]:
    """Accuracies over all seeds, and ours against the peer that is best in hindsight."""
    names = [name for name in by_seed[0] if all(name in outcomes for outcomes in by_seed)]
    pooled = {name: np.concatenate([outcomes[name] for outcomes in by_seed]) for name in names}
    best = max((name for name in names if name != "ours"), key=lambda name: float(pooled[name].mean()))
    difference, interval = paired_difference(pooled["ours"], pooled[best])
    return {
        "accuracy": {name: round(float(pooled[name].mean()), 4) for name in names},
        "n": len(pooled["ours"]),
        "best_peer": best,
        "ours_minus_best_peer": round(difference, 4),
        "interval": [round(end, 4) for end in interval],
    }


def saved(loaded: LoadedModel, task: Task[Any], units: Deactivation) -> tuple[float, int]:
    """(largest logit difference after reloading, error of the predicted bytes) of a saved model."""
    predicted = predict(loaded, units).size.bytes
    with tempfile.TemporaryDirectory() as folder:
        info = prune(loaded, task, units, Path(folder) / "smaller")
        size = (Path(folder) / "smaller" / "model.safetensors").stat().st_size
    return info.reload_max_logit_difference, size - predicted


def forward_ratio(loaded: LoadedModel) -> float:
    """CPU-seconds of a pass without 25 % of the neurons of each layer, against the parent."""
    shapes = loaded.anatomy.shapes
    flat = {UnitKind.NEURON: np.zeros(shapes.of(UnitKind.NEURON))}
    units = least_important(ImportanceMap("none", "", False, flat, flat), loaded.anatomy, UnitKind.NEURON, 0.25)
    smaller = smaller_model(loaded, plan_pruning(loaded, units), torch.float32)
    tokens = torch.randint(0, 1000, (4, TOKENS))
    pixels = torch.randn(64, 1, 8, 8)
    inputs = tokens if loaded.anatomy.modality == "text" else pixels
    times: dict[int, list[float]] = {0: [], 1: []}
    with torch.inference_mode():
        for number in range(2 * PASSES + 2):
            model = (loaded.model, smaller)[number % 2]
            started = time.process_time()
            model(inputs)
            times[number % 2].append(time.process_time() - started)
    return statistics.median(times[1][1:]) / statistics.median(times[0][1:])


def measure_model(model: str, shares: Sequence[float], seeds: int, data: Path) -> dict[str, Any]:
    loaded, task = load_model(model, data=data), load_task(TASKS[model], data=data)
    choosers = [peers_of(loaded, task, seed) for seed in range(seeds)]
    results: dict[str, Any] = {"forward_ratio_25": round(forward_ratio(loaded), 3), "sizes": {}}
    differences, errors = [], []
    for share in shares:
        by_seed = [one_seed(loaded, task, share, seed, choosers[seed]) for seed in range(seeds)]
        difference, error = saved(loaded, task, by_seed[0][1])
        differences.append(difference)
        errors.append(abs(error))
        results["sizes"][f"{share:g}"] = compare([outcomes for outcomes, _ in by_seed])
    return results | {"reload_max_logit_difference": max(differences), "bytes_prediction_error": max(errors)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON (the default)")
    parser.add_argument("--model", choices=["digits-vit", "smollm2-135m"], nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    models = [f"demo:{name}" for name in arguments.model or ["digits-vit", "smollm2-135m"]]
    report({model: measure_model(model, arguments.shares, arguments.seeds, arguments.data) for model in models})


if __name__ == "__main__":
    main()
