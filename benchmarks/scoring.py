"""What scoring costs over the backward pass that it cannot do without.

    python -m benchmarks.scoring --json

For each demo model, on one probe batch: `floor_s` = forward and activation-only backward with nothing kept;
`scoring_s` = the same with the signals of all neurons, heads and layers, and the sums of every method;
`overhead` = scoring_s / floor_s, both taken alternately in one run.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from benchmarks.common import DATA, median_s, report
from modelshapley.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.demo import prepare_smollm2
from modelshapley.methods import METHODS, load_method
from modelshapley.models import load
from modelshapley.scoring import Scoring, Sums
from modelshapley.tasks import load_task
from modelshapley.units import UnitKind


def measure(catalog: Catalog, model_id: str, task_id: str, rounds: int) -> dict[str, Any]:
    loaded, task = load(catalog.folder(model_id)), load_task(task_id)
    methods = [load_method(method) for method in METHODS]
    scoring = Scoring(loaded, task, methods, list(UnitKind), limit=task.probe_batch)
    batch = task.examples("probe")[: task.probe_batch]
    block = loaded.model.get_submodule(loaded.anatomy.block(0))

    def start_graph(_: object, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (args[0].detach().requires_grad_(True), *args[1:])

    def floor() -> None:
        handle = block.register_forward_pre_hook(start_graph)
        task.losses(loaded, batch).sum().backward()
        handle.remove()

    def score() -> None:
        for _ in scoring.steps(Sums(scoring.plan())):
            pass

    floors, scores = [], []
    for _ in range(rounds):
        floors.append(median_s(floor, 3))
        scores.append(median_s(score, 3))
    floor_s, scoring_s = sorted(floors)[rounds // 2], sorted(scores)[rounds // 2]
    return {
        "floor_s": round(floor_s, 4),
        "scoring_s": round(scoring_s, 4),
        "overhead": round(scoring_s / floor_s, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    pairs = ((DIGITS_VIT, "digits"), (SMOLLM2, "world-capitals"))
    report({model: measure(catalog, model, task, options.rounds) for model, task in pairs})


if __name__ == "__main__":
    main()
